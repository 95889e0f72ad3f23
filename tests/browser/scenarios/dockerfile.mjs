// A cell that begins with %%dockerfile is shown as one, on opening and while its first line is typed; others stay Python.
const LINES = `(cell => [...cell.querySelectorAll('.cm-line')].map(line => [...line.querySelectorAll('span')].map(span => {
  const style = getComputedStyle(span);
  return [span.textContent, style.color + ' ' + style.fontWeight];
})))`;

export default async ({ page, open, picture, step }) => {
  await open('lab/tree/dockerfile.ipynb');
  const cells = page.locator('.jp-Notebook .jp-CodeCell');
  await cells.nth(2).waitFor();
  await page.waitForFunction(() => document.querySelectorAll('.jp-Notebook .jp-CodeCell .cm-line span').length > 20);
  await picture('dockerfile');
  const colours = index => cells.nth(index).evaluate(new Function('cell', `return ${LINES}(cell)`));
  await step('opened', { dockerfile: await colours(0), python: await colours(1) });
  await cells.nth(2).locator('.cm-content').click();
  await page.keyboard.press('Control+Home');
  await page.keyboard.type('%%dockerfile -t typed\n');
  await page.waitForTimeout(500);
  await step('typed', await colours(2));
};
