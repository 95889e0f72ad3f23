// Builds in cells: live progress with the plan as a picture, warnings, advice, the step that failed; in both themes.
export default async ({ page, open, run, picture, step }) => {
  await open('lab/tree/builds.ipynb');
  const outputs = page.locator('.jp-Notebook .jp-CodeCell .jp-OutputArea');
  await page.locator('.jp-Notebook .jp-CodeCell').nth(2).waitFor();
  await page.waitForFunction(() => document.querySelector('.jp-Notebook-ExecutionIndicator')?.getAttribute('data-status') === 'idle');
  await run('notebook:run-all-cells');

  const live = outputs.nth(1);
  await live.locator('progress').waitFor();
  await live.locator('pre', { hasText: 'working' }).first().waitFor();
  await live.locator('img[src^="data:image/svg+xml"]').waitFor();
  await live.locator('img').first().scrollIntoViewIfNeeded();
  await picture('build-live');
  await step('live', { words: await live.innerText(), picture: await width(live) });
  await live.getByText('Built builds:latest').waitFor();
  await step('built', { words: await live.innerText() });

  const failed = outputs.nth(2);
  await failed.getByText('Build failed at step').waitFor();
  await failed.getByText('open it where it stopped').first().waitFor();
  await failed.locator('summary').first().click();
  await failed.locator('img[src^="data:image/svg+xml"]').waitFor();
  await failed.locator('img').first().scrollIntoViewIfNeeded();
  await picture('build-failed');
  await step('broken', { words: await failed.innerText(), picture: await width(failed) });
  await live.locator('strong').first().scrollIntoViewIfNeeded();
  await picture('build-done');
  await step('pictured');
};

const width = output => output.locator('img').first().evaluate(image => [image.complete, image.naturalWidth]);
