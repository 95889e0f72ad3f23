// Opens JupyterLab in chromium and plays one scenario: node drive.mjs SCENARIO.mjs
// The first line of standard input is JSON: {url, modules, chromium, profile, artifacts}. A scenario may call step(name, value): the line goes to
// standard output and the scenario waits until the test has answered, so that the test can look at the engine meanwhile.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const next = async () => JSON.parse((await lines.next()).value);
const options = await next();

const { chromium } = createRequire(join(options.modules, 'package.json'))('playwright-core');
const context = await chromium.launchPersistentContext(options.profile, {
  executablePath: options.chromium,
  headless: true,
  viewport: { width: 1280, height: 800 },
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync'
  ]
});
const page = await context.newPage();
page.setDefaultTimeout(30_000);
const foreign = [];
const complaints = [];
page.on('request', request => {
  const url = new URL(request.url());
  if (url.protocol.startsWith('http') && url.origin !== new URL(options.url).origin) {
    foreign.push(request.url());
  }
});
page.on('pageerror', error => complaints.push(String(error)));

process.stdout.on('error', () => process.exit(1)); // the test has failed and gone
const say = line => process.stdout.write(`${JSON.stringify(line)}\n`);
const step = async (name, value = null) => {
  say({ step: name, value });
  return next();
};

/** Go to a path of JupyterLab (with an empty workspace) and wait until it is up. */
const open = async (path = 'lab') => {
  const url = new URL(options.url);
  url.pathname += path;
  url.searchParams.set('reset', '');
  await page.goto(url.href);
  await page.waitForSelector('#jupyterlab-splash', { state: 'detached' });
  await page.waitForFunction(() => window.jupyterapp?.restored);
  await page.evaluate(() => window.jupyterapp.restored);
};
const run = (command, args = {}) => page.evaluate(([id, given]) => void window.jupyterapp.commands.execute(id, given), [command, args]);
const sidebar = async () => {
  await page.click('.jp-SideBar .lm-TabBar-tab[data-id="notebook-containers:panel"]');
  const panel = page.locator('.jp-nbc-Panel');
  await panel.waitFor();
  return panel;
};
const theme = async name => {
  await page.evaluate(wanted => window.jupyterapp.commands.execute('apputils:change-theme', { theme: wanted }), name);
  await page.waitForSelector(`body[data-jp-theme-name="${name}"]`, { state: 'attached' });
};
/** A picture in the light and one in the dark theme. */
const picture = async (name, target = page) => {
  for (const [word, full] of [['dark', 'JupyterLab Dark'], ['light', 'JupyterLab Light']]) {
    await theme(full);
    await page.waitForTimeout(300);
    await target.screenshot({ path: join(options.artifacts, `${name}-${word}.png`) });
  }
};

try {
  const scenario = await import(pathToFileURL(process.argv[2]).href);
  await scenario.default({ page, open, run, sidebar, picture, step });
  say({ step: 'end', value: { foreign, complaints, pwned: await page.evaluate(() => window.__pwned ?? null) } });
} catch (error) {
  await page.screenshot({ path: join(options.artifacts, 'failed.png') }).catch(() => undefined);
  say({ step: 'failed', value: String(error.stack ?? error) });
  process.exitCode = 1;
} finally {
  await context.close();
  process.stdin.destroy();
}
