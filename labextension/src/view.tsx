/** The sidebar's contents. Everything that comes from the server is a text node. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { Time } from '@jupyterlab/coreutils';
import { deleteIcon, LabIcon, PanelWithToolbar, ReactWidget, runIcon, stopIcon } from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';
import React from 'react';

import { CommandIDs, ROW_CLASS } from './commands';
import { size } from './format';
import { isRunning, Model, Target } from './model';

export interface IContext {
  readonly model: Model;
  readonly commands: CommandRegistry;
  readonly trans: TranslationBundle;
  /** The version of this half. */
  readonly version: string;
}

/** A widget that renders again whenever the model changes. */
class ModelWidget extends ReactWidget {
  constructor(
    private readonly view: (context: IContext) => JSX.Element,
    private readonly context: IContext
  ) {
    super();
    context.model.changed.connect(() => this.update(), this);
  }

  protected override render(): JSX.Element {
    return this.view(this.context);
  }
}

/** One part of the sidebar, with its own title and toolbar. */
export function section(label: string, view: (context: IContext) => JSX.Element, context: IContext): PanelWithToolbar {
  const panel = new PanelWithToolbar();
  panel.addClass('jp-nbc-Section');
  panel.title.label = label;
  panel.addWidget(new ModelWidget(view, context));
  return panel;
}

export function notices(context: IContext): ReactWidget {
  return new ModelWidget(Notices, context);
}

/** What is wrong, said in words; and for a screen reader the state of the lists. */
function Notices(context: IContext): JSX.Element {
  const { model, trans, version } = context;
  const { problem, serverVersion } = model;
  const running = model.containers.filter(isRunning).length;
  const summary = model.loaded ? trans.__('%1 running, %2 containers, %3 images', running, model.containers.length, model.images.length) : '';
  return (
    <>
      <div className="jp-nbc-Hidden" role="status" aria-live="polite">
        {summary}
      </div>
      {problem && (
        <div className="jp-nbc-Notice" data-kind="error" role="alert">
          <strong>{problem.message}</strong>
          {problem.hint && <p>{problem.hint}</p>}
          <button className="jp-nbc-TextButton" onClick={() => void context.commands.execute(CommandIDs.refresh)}>
            {trans.__('Try again')}
          </button>
        </div>
      )}
      {version && serverVersion && version !== serverVersion && (
        <div className="jp-nbc-Notice" data-kind="warning">
          {trans.__('This page has version %1, the server %2: reload the page, or start JupyterLab again.', version, serverVersion)}
        </div>
      )}
    </>
  );
}

export function Containers(context: IContext): JSX.Element {
  const { model, trans } = context;
  const empty = (
    <>
      <p>{trans.__('No containers yet. In a notebook:')}</p>
      <pre>{'%load_ext notebook_containers\n%container_run hello'}</pre>
    </>
  );
  return (
    <List context={context} label={trans.__('Containers')} empty={empty}>
      {model.containers.map(row => (
        <Row
          key={row.id}
          context={context}
          target={{ kind: 'container', row }}
          description={`${row.name}, ${row.image}, ${row.status}`}
          hint={`${row.name}\n${row.image}\n${row.command}`}
        >
          <div className="jp-nbc-Detail">
            <span className="jp-nbc-State" data-state={row.state} aria-hidden="true" />
            <span>{model.activity({ kind: 'container', row }) || row.status || row.state}</span>
          </div>
          <div className="jp-nbc-Detail">{row.image}</div>
          {row.ports.map(port => (
            <div className="jp-nbc-Detail jp-nbc-Port" key={port.label}>
              {port.link ? (
                <a href={port.link} target="_blank" rel="noopener noreferrer">
                  {port.label}
                </a>
              ) : (
                port.label
              )}
            </div>
          ))}
        </Row>
      ))}
    </List>
  );
}

export function Images(context: IContext): JSX.Element {
  const { model, trans } = context;
  const empty = (
    <>
      <p>{trans.__('No images yet. A cell builds one:')}</p>
      <pre>{'%%dockerfile -t hello\nFROM localhost/base\nCMD ["echo", "hello"]'}</pre>
    </>
  );
  return (
    <List context={context} label={trans.__('Images')} empty={empty}>
      {model.images.map(row => {
        const layers = trans._n('%1 layer', '%1 layers', row.layers);
        const detail = [layers, size(row.size), Time.formatHuman(row.created)].join(' · ');
        return (
          <Row
            key={row.name}
            context={context}
            target={{ kind: 'image', row }}
            description={`${row.name}, ${detail}`}
            hint={`${row.name}\n${row.id}`}
          >
            <div className="jp-nbc-Detail">{model.activity({ kind: 'image', row }) || detail}</div>
            {!row.tagged && <div className="jp-nbc-Detail">{trans.__('no tag')}</div>}
          </Row>
        );
      })}
    </List>
  );
}

interface IListProps {
  readonly context: IContext;
  readonly label: string;
  readonly empty: React.ReactNode;
  readonly children: readonly JSX.Element[];
}

function List({ context, label, empty, children }: IListProps): JSX.Element {
  const { model, trans } = context;
  const list = useFocusAfterRemoval(children.length);
  if (children.length) {
    return (
      <ul className="jp-nbc-List" aria-label={label} onKeyDown={moveFocus} ref={list.ref} onFocus={list.remember}>
        {children}
      </ul>
    );
  }
  const waiting = model.problem ? trans.__('Not known: see above.') : trans.__('Loading…');
  return <div className="jp-nbc-Empty">{model.loaded ? empty : waiting}</div>;
}

interface IRowProps {
  readonly context: IContext;
  readonly target: Target;
  /** What a screen reader says for the whole row. */
  readonly description: string;
  readonly hint: string;
  readonly children: React.ReactNode;
}

function Row({ context, target, description, hint, children }: IRowProps): JSX.Element {
  const { model, trans } = context;
  const name = target.row.name;
  const busy = model.activity(target) !== '';
  return (
    <li
      className={ROW_CLASS}
      tabIndex={0}
      title={hint}
      aria-label={description}
      aria-busy={busy}
      data-kind={target.kind}
      data-name={target.kind === 'container' ? target.row.id : name}
    >
      <div className="jp-nbc-Text">
        <div className="jp-nbc-Name">{name}</div>
        {children}
      </div>
      {target.kind === 'container' &&
        (isRunning(target.row) ? (
          <Action context={context} target={target} command={CommandIDs.stop} icon={stopIcon} label={trans.__('Stop %1', name)} />
        ) : (
          <Action context={context} target={target} command={CommandIDs.start} icon={runIcon} label={trans.__('Start %1', name)} />
        ))}
      <Action context={context} target={target} command={CommandIDs.remove} icon={deleteIcon} label={trans.__('Remove %1', name)} />
    </li>
  );
}

interface IActionProps {
  readonly context: IContext;
  readonly target: Target;
  readonly command: string;
  readonly icon: LabIcon;
  readonly label: string;
}

function Action({ context, target, command, icon, label }: IActionProps): JSX.Element {
  const args = target.kind === 'container' ? { container: target.row.id } : { image: target.row.name };
  return (
    <button
      className="jp-nbc-Button"
      title={label}
      aria-label={label}
      data-command={command}
      disabled={context.model.activity(target) !== ''}
      onClick={() => void context.commands.execute(command, args)}
    >
      <icon.react tag="span" width="16px" height="16px" />
    </button>
  );
}

/** When the row that has the keyboard's focus goes, its neighbour gets it: else the person starts again at the top of the page. */
function useFocusAfterRemoval(count: number): { ref: React.RefObject<HTMLUListElement>; remember: () => void } {
  const ref = React.useRef<HTMLUListElement>(null);
  const last = React.useRef({ row: -1, count });
  const rows = () => [...(ref.current?.children ?? [])] as HTMLElement[];
  React.useEffect(() => {
    const { row, count: before } = last.current;
    if (count < before && row >= 0 && document.activeElement === document.body) {
      rows()[Math.min(row, count - 1)]?.focus();
    }
    last.current.count = count;
  }, [count]);
  const remember = () => {
    last.current.row = rows().findIndex(row => row.contains(document.activeElement));
  };
  return { ref, remember };
}

/** Arrow keys go from row to row. */
function moveFocus(event: React.KeyboardEvent<HTMLUListElement>): void {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const rows = [...event.currentTarget.children] as HTMLElement[];
  const here = rows.findIndex(row => row.contains(document.activeElement));
  if (step && rows[here + step]) {
    rows[here + step].focus();
    event.preventDefault();
  }
}
