import { LabIcon } from '@jupyterlab/ui-components';

import containerSvg from '../style/container.svg';

export const containerIcon = new LabIcon({ name: 'notebook-containers:container', svgstr: containerSvg });
