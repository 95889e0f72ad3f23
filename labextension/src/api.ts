/** The server's handlers, in the Docker Engine API's shapes, and the typed rows this extension makes of them. */

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

export interface IPort {
  readonly label: string;
  /** Where the server shows what listens there; empty when it does not. */
  readonly link: string;
}

export interface IContainer {
  readonly id: string;
  readonly name: string;
  readonly image: string;
  readonly command: string;
  /** The engine's word: created, running, paused, exited, dead. */
  readonly state: string;
  /** The state for people: "Up 3 minutes", "Exited (0) 2 hours ago". */
  readonly status: string;
  readonly ports: readonly IPort[];
}

/** One name of an image; an image without a name has its short id here. */
export interface IImage {
  readonly id: string;
  readonly name: string;
  readonly tagged: boolean;
  readonly size: number;
  readonly layers: number;
  readonly created: Date;
}

/** What the server refused, or why it could not be asked; `hint` says what to do next and may be empty. */
export class RequestError extends Error {
  constructor(
    message: string,
    readonly hint = '',
    readonly status = 0
  ) {
    super(message);
  }
}

export class Api {
  constructor(private readonly settings: ServerConnection.ISettings) {}

  async containers(): Promise<IContainer[]> {
    const rows = await this.request('GET', ['containers', 'json'], { all: '1' });
    return list(rows).map(row => container(row, this.settings.baseUrl));
  }

  async images(): Promise<IImage[]> {
    const rows = await this.request('GET', ['images', 'json']);
    return list(rows).flatMap(images);
  }

  async version(): Promise<string> {
    const answer = await this.request('GET', ['version']);
    return text((answer as Row).Version);
  }

  async start(id: string): Promise<void> {
    await this.request('POST', ['containers', id, 'start']);
  }

  async stop(id: string): Promise<void> {
    await this.request('POST', ['containers', id, 'stop']);
  }

  async removeContainer(id: string, force: boolean): Promise<void> {
    await this.request('DELETE', ['containers', id], { force: force ? '1' : '0' });
  }

  async removeImage(name: string): Promise<void> {
    await this.request('DELETE', ['images', name]);
  }

  private async request(method: string, path: string[], query: Record<string, string> = {}): Promise<unknown> {
    const parts = ['notebook-containers', ...path.map(encodeURIComponent)];
    const url = URLExt.join(this.settings.baseUrl, ...parts) + URLExt.objectToQueryString(query);
    const response = await ServerConnection.makeRequest(url, { method }, this.settings);
    const body = await response.text();
    const answer = parsed(body);
    if (!response.ok) {
      const row = (answer ?? {}) as Row;
      throw new RequestError(text(row.message) || response.statusText, text(row.hint), response.status);
    }
    return answer;
  }
}

type Row = Record<string, unknown>;

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

function list(value: unknown): Row[] {
  if (!Array.isArray(value)) {
    throw new RequestError('the server sent no list');
  }
  return value as Row[];
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function number(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}

function container(row: Row, baseUrl: string): IContainer {
  const names = Array.isArray(row.Names) ? row.Names : [];
  return {
    id: text(row.Id),
    name: text(names[0]).replace(/^\//, '') || shortId(text(row.Id)),
    image: text(row.Image),
    command: text(row.Command),
    state: text(row.State),
    status: text(row.Status),
    ports: Array.isArray(row.Ports) ? row.Ports.map(each => port(each, baseUrl)) : []
  };
}

function port(row: Row, baseUrl: string): IPort {
  const inside = `${number(row.PrivatePort)}/${text(row.Type)}`;
  const label = row.PublicPort ? `${text(row.IP)}:${number(row.PublicPort)} → ${inside}` : inside;
  // below the server's own address, whatever the answer says: never another site, never a script
  const link = text(row.Link);
  return { label, link: /^proxy\/[0-9]{1,5}\/$/.test(link) ? URLExt.join(baseUrl, link) : '' };
}

function images(row: Row): IImage[] {
  const id = text(row.Id);
  const tags = Array.isArray(row.RepoTags) ? row.RepoTags.map(text).filter(Boolean) : [];
  const names = tags.length ? tags : [shortId(id)];
  return names.map(name => ({
    id,
    name,
    tagged: tags.length > 0,
    size: number(row.Size),
    layers: number(row.LayerCount),
    created: new Date(number(row.Created) * 1000)
  }));
}

function shortId(id: string): string {
  return id.replace(/^sha256:/, '').slice(0, 12);
}
