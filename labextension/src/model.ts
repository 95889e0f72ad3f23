/** What the sidebar shows: fetched while it is visible, changed by the three actions. No user interface in here. */

import { ServerConnection } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Poll } from '@lumino/polling';
import { ISignal, Signal } from '@lumino/signaling';

import { Api, IContainer, IImage, RequestError } from './api';

export type Target = { kind: 'container'; row: IContainer } | { kind: 'image'; row: IImage };

/** Why there is nothing (new) to show: `message` what happened, `hint` what to do next. */
export interface IProblem {
  readonly message: string;
  readonly hint: string;
}

const MAX_INTERVAL_MS = 60_000;

export class Model {
  constructor(
    private readonly api: Api,
    private readonly trans: TranslationBundle
  ) {
    this.poll = new Poll({
      auto: false,
      factory: () => this.load(),
      frequency: { interval: 3000, backoff: true, max: MAX_INTERVAL_MS },
      name: 'notebook-containers:poll',
      standby: 'when-hidden'
    });
  }

  containers: readonly IContainer[] = [];
  images: readonly IImage[] = [];
  /** True once the lists were fetched at least once. */
  loaded = false;
  problem: IProblem | null = null;
  /** The version of the server's half; empty until it was asked. */
  serverVersion = '';

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** What is being done to a row right now ("stopping…"), or an empty text. */
  activity(target: Target): string {
    return this.activities.get(key(target)) ?? '';
  }

  /** Fetch now and every so often, until unwatched. */
  watch(): void {
    this.watched = true;
    void this.poll.start();
    void this.poll.refresh();
  }

  unwatch(): void {
    this.watched = false;
    void this.poll.stop();
  }

  set interval(seconds: number) {
    const interval = seconds * 1000;
    this.poll.frequency = { interval, backoff: true, max: Math.max(interval, MAX_INTERVAL_MS) };
  }

  async refresh(): Promise<void> {
    if (this.watched) {
      await this.poll.refresh();
      await this.poll.tick.catch(() => undefined);
    } else {
      await this.load().catch(() => undefined);
    }
  }

  async start(row: IContainer): Promise<void> {
    await this.act({ kind: 'container', row }, this.trans.__('starting…'), () => this.api.start(row.id));
  }

  async stop(row: IContainer): Promise<void> {
    await this.act({ kind: 'container', row }, this.trans.__('stopping…'), () => this.api.stop(row.id));
  }

  async remove(target: Target): Promise<void> {
    const work =
      target.kind === 'container'
        ? () => this.api.removeContainer(target.row.id, isRunning(target.row))
        : () => this.api.removeImage(target.row.name);
    await this.act(target, this.trans.__('removing…'), work);
  }

  private async act(target: Target, activity: string, work: () => Promise<void>): Promise<void> {
    this.activities.set(key(target), activity);
    this._changed.emit();
    try {
      await work();
    } finally {
      await this.refresh();
      this.activities.delete(key(target));
      this._changed.emit();
    }
  }

  private async load(): Promise<void> {
    const turn = ++this.turn;
    try {
      const [containers, images] = await Promise.all([this.api.containers(), this.api.images()]);
      this.serverVersion ||= await this.api.version();
      if (turn === this.turn) {
        Object.assign(this, { containers, images, loaded: true, problem: null });
      }
    } catch (error) {
      if (turn === this.turn) {
        this.problem = this.explain(error);
      }
      throw error;
    } finally {
      this._changed.emit();
    }
  }

  private explain(error: unknown): IProblem {
    const trans = this.trans;
    if (error instanceof ServerConnection.NetworkError) {
      return { message: trans.__('The Jupyter server does not answer.'), hint: trans.__('Is it still running?') };
    }
    if (error instanceof RequestError && error.status === 404) {
      return {
        message: trans.__('The server half of notebook-containers is not there.'),
        hint: trans.__('Run “jupyter server extension enable notebook_containers” and start JupyterLab again.')
      };
    }
    const hint = error instanceof RequestError ? error.hint : '';
    return { message: error instanceof Error ? error.message : String(error), hint };
  }

  private readonly activities = new Map<string, string>();
  private readonly poll: Poll;
  private watched = false;
  private turn = 0;
  private readonly _changed = new Signal<this, void>(this);
}

export function isRunning(row: IContainer): boolean {
  return row.state === 'running' || row.state === 'paused' || row.state === 'restarting';
}

function key(target: Target): string {
  return target.kind === 'container' ? `container ${target.row.id}` : `image ${target.row.name}`;
}
