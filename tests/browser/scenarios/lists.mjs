// The sidebar as a person sees it first, in both themes.
export default async ({ page, open, sidebar, picture, step }) => {
  await open();
  const panel = await sidebar();
  await panel.locator('.jp-nbc-Row, .jp-nbc-Empty pre, .jp-nbc-Notice').first().waitFor();
  await page.locator('.jp-Launcher').waitFor();
  const shown = async part => (await panel.locator(part).count()) > 0;
  await picture((await shown('.jp-nbc-Row')) ? 'sidebar' : (await shown('.jp-nbc-Notice')) ? 'sidebar-error' : 'sidebar-empty');
  await step('text', {
    rows: await panel.locator('.jp-nbc-Row').evaluateAll(rows => rows.map(row => row.innerText.split('\n'))),
    links: await panel.locator('.jp-nbc-Port a').evaluateAll(links => links.map(link => link.href)),
    empty: await panel.locator('.jp-nbc-Empty').evaluateAll(nodes => nodes.map(node => node.innerText)),
    notice: await panel.locator('.jp-nbc-Notice').evaluateAll(nodes => nodes.map(node => node.innerText.split('\n'))),
    labels: await panel.locator('button').evaluateAll(buttons => buttons.map(button => button.getAttribute('aria-label') ?? button.innerText)),
    status: await panel.locator('[role=status]').innerText()
  });
  const asked = [];
  page.on('request', request => request.url().includes('/notebook-containers/') && asked.push(request.url()));
  await page.click('.jp-SideBar .lm-TabBar-tab[data-id="filebrowser"]');
  await page.waitForTimeout(500);
  asked.length = 0;
  await page.waitForTimeout(4000);
  await step('hidden', asked);
};
