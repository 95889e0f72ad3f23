// A cell pulls from a slow registry: its one display while it moves, and as it stays, in both themes.
export default async ({ page, open, run, picture, step }) => {
  await open('lab/tree/pull.ipynb');
  const cells = page.locator('.jp-Notebook .jp-CodeCell');
  await cells.nth(1).waitFor();
  await page.locator('#jp-main-statusbar', { hasText: '| Idle' }).waitFor(); // before its kernel is up, a notebook asks which it is to be
  await run('notebook:run-all-cells');
  const output = cells.nth(1).locator('.jp-OutputArea-output').first();
  const shown = async () => ({
    outputs: await cells.nth(1).locator('.jp-OutputArea-output').count(),
    bars: await output.locator('progress').count(),
    text: await output.innerText()
  });
  await output.locator('progress').nth(1).waitFor();
  await page.waitForFunction(() => [...document.querySelectorAll('.jp-OutputArea-output progress')].some(bar => bar.value > 250));
  await picture('pull', cells.nth(1));
  await step('moving', await shown());
  await page.waitForFunction(() => /Pulled .* in /.test(document.querySelectorAll('.jp-Notebook .jp-CodeCell')[1].innerText));
  await output.locator('summary').click();
  await picture('pulled', cells.nth(1));
  await step('ended', await shown());
};
