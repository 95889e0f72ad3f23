// Start, stop and remove: by button, by context menu, by keyboard, from the palette. The test looks at the engine at each step.
export default async ({ page, open, run, sidebar, picture, step }) => {
  await open();
  // JupyterLab gives the launcher the focus when it has started: it would take it from the row below.
  await page.waitForFunction(() => document.activeElement?.closest('.jp-Launcher'));
  const panel = await sidebar();
  const row = name => panel.locator('.jp-nbc-Row').filter({ has: page.locator('.jp-nbc-Name', { hasText: new RegExp(`^${name}$`) }) });
  const state = (name, word) => row(name).locator(`.jp-nbc-State[data-state="${word}"]`).waitFor();
  const dialog = page.locator('.jp-Dialog');
  const gone = locator => locator.waitFor({ state: 'detached' });

  await state('web', 'running');
  await row('web').getByRole('button', { name: 'Stop web' }).click();
  await state('web', 'exited');
  await step('stopped');
  await row('web').getByRole('button', { name: 'Start web' }).click();
  await state('web', 'running');
  await step('started');

  await row('web').getByRole('button', { name: 'Remove web' }).click();
  await dialog.waitFor();
  await picture('confirm');
  await step('asked', await dialog.innerText());
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  await gone(dialog);
  await step('kept');

  await row('web').click({ button: 'right' });
  const menu = page.locator('.lm-Menu');
  await menu.waitFor();
  await picture('menu');
  await step('menu', (await menu.locator('.lm-Menu-item:visible .lm-Menu-itemLabel').allInnerTexts()).filter(Boolean));
  await menu.getByText('Stop', { exact: true }).click();
  await state('web', 'exited');
  await step('stopped again');

  await row('web').focus();
  await page.keyboard.press('ArrowDown');
  await step('focused', await page.evaluate(() => document.activeElement.getAttribute('aria-label')));
  await row('web').focus();
  await page.keyboard.press('Delete');
  await dialog.getByRole('button', { name: 'Remove', exact: true }).click();
  await gone(row('web'));
  await page.waitForTimeout(200);
  await step('removed', await page.evaluate(() => document.activeElement.getAttribute('aria-label')));

  await run('notebook-containers:stop', { isPalette: true });
  await dialog.waitFor();
  await picture('which');
  await step('which', await dialog.locator('select option').allInnerTexts());
  await dialog.locator('.jp-mod-accept').click();
  await state('second', 'exited');
  await step('stopped from the palette');

  await row('other:1').getByRole('button', { name: 'Remove other:1' }).click();
  await dialog.getByRole('button', { name: 'Remove', exact: true }).click();
  await gone(row('other:1'));
  await step('untagged');
  await row('localhost/base:latest').getByRole('button', { name: 'Remove localhost/base:latest' }).click();
  await dialog.getByRole('button', { name: 'Remove', exact: true }).click();
  const refusal = page.locator('.Toastify__toast');
  await refusal.waitFor();
  await picture('refused');
  await step('refused', await refusal.innerText());
};
