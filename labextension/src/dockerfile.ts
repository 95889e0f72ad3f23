/** Dockerfile syntax for the editor, read line by line as Docker does: continuation lines, heredocs, comments between continued lines. */

import type { StreamParser, StringStream } from '@codemirror/language';

const INSTRUCTIONS = new Set(
  ('ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER VOLUME WORKDIR').split(' ')
);

/** Instructions whose first word is an instruction again. */
const NESTING = new Set(['ONBUILD', 'HEALTHCHECK']);

interface IState {
  /** The line is the cell magic's own. */
  magic: boolean;
  instruction: string;
  /** The next line belongs to the instruction. */
  continued: boolean;
  /** Flags are still allowed: nothing but flags came since the instruction. */
  flags: boolean;
  /** Words that end the heredocs begun on this line, in order; `-` before one allows tabs before it. */
  heredocs: readonly string[];
}

export function dockerfile(options: { magic: boolean }): StreamParser<IState> {
  return {
    name: 'dockerfile',
    languageData: { commentTokens: { line: '#' } },
    startState: () => ({ magic: options.magic, instruction: '', continued: false, flags: false, heredocs: [] }),
    copyState: state => ({ ...state }),
    token: (stream, state) => (stream.sol() ? lineStart(stream, state) : within(stream, state))
  };
}

function lineStart(stream: StringStream, state: IState): string | null {
  if (state.magic) {
    state.magic = false;
    state.instruction = '%%';
    return stream.match(/^%%\w+/) ? 'meta' : within(stream, state);
  }
  if (state.heredocs.length && !state.continued) {
    return heredoc(stream, state);
  }
  if (stream.match(/^\s*#/)) {
    stream.skipToEnd();
    return 'comment';
  }
  if (state.continued) {
    state.continued = false;
    return within(stream, state);
  }
  state.instruction = '';
  return stream.eatSpace() ? null : within(stream, state);
}

function heredoc(stream: StringStream, state: IState): string {
  const [end] = state.heredocs;
  const line = end.startsWith('-') ? stream.string.replace(/^\t+/, '') : stream.string;
  stream.skipToEnd();
  if (line === end.replace(/^-/, '')) {
    state.heredocs = state.heredocs.slice(1);
    return 'meta';
  }
  return 'string';
}

function within(stream: StringStream, state: IState): string | null {
  if (stream.eatSpace()) {
    return null;
  }
  if (stream.match(/^\\\s*$/)) {
    state.continued = true;
    return 'operator';
  }
  if (!state.instruction) {
    return instruction(stream, state);
  }
  return (state.flags && flag(stream, state)) || argument(stream, state);
}

function instruction(stream: StringStream, state: IState): string | null {
  const word = stream.match(/^[^\s\\]+/) ? stream.current().trim() : '';
  if (!word) {
    stream.next();
    return null;
  }
  state.instruction = word.toUpperCase();
  state.flags = true;
  return INSTRUCTIONS.has(state.instruction) ? 'keyword' : 'invalid';
}

function flag(stream: StringStream, state: IState): string | null {
  if (stream.match(/^--[\w-]+/)) {
    return 'attributeName';
  }
  if (stream.match(/^=[^\s\\]+/)) {
    return 'string';
  }
  state.flags = false;
  const nested = NESTING.has(state.instruction) && stream.match(/^[A-Za-z]+(?=\s|$)/) ? stream.current().toUpperCase() : '';
  if (INSTRUCTIONS.has(nested) || nested === 'NONE') {
    Object.assign(state, { instruction: nested, flags: true });
    return 'keyword';
  }
  return nested ? 'invalid' : null;
}

function argument(stream: StringStream, state: IState): string | null {
  const found = stream.match(/^<<(-?)(["']?)([\w.-]+)\2/) as RegExpMatchArray | null;
  if (found && ['RUN', 'COPY', 'ADD'].includes(state.instruction)) {
    state.heredocs = [...state.heredocs, found[1] + found[3]];
    return 'meta';
  }
  if (found || stream.match(/^"(?:[^"\\]|\\.)*"/) || stream.match(/^'[^']*'/)) {
    return 'string';
  }
  if (stream.match(/^\$(?:\w+|\{[^}]*\})/)) {
    return 'variableName.special';
  }
  if (state.instruction === '%%' && stream.match(/^--?[\w-]+/)) {
    return 'attributeName';
  }
  if (state.instruction === 'FROM' && stream.match(/^as(?=\s)/i)) {
    return 'keyword';
  }
  if (['ENV', 'ARG', 'LABEL'].includes(state.instruction) && stream.match(/^[\w.-]+(?==)/)) {
    return 'propertyName';
  }
  if (stream.match(/^(?:&&|\|\||[|;&<>])/)) {
    return 'operator';
  }
  if (!stream.match(/^[^\s\\"'$|;&<>]+/)) {
    stream.next();
  }
  return null;
}
