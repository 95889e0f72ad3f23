import { layers } from './layers';
import { magics } from './magics';
import { sidebar } from './sidebar';

export default [sidebar, layers, magics];
