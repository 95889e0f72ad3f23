// A notebook that nobody trusted, with layer diagrams in its outputs: drawn, and nothing in their data comes alive.
export default async ({ page, open, picture, step }) => {
  await open('lab/tree/layers.ipynb');
  await page.locator('.jp-nbc-Layers').first().waitFor();
  await page.locator('.jp-nbc-Layers summary').first().click();
  await picture('layers');
  await step(
    'drawn',
    await page.locator('.jp-nbc-Layers').evaluateAll(nodes =>
      nodes.map(node => ({
        columns: node.querySelectorAll('.jp-nbc-StackName').length,
        shared: [...node.querySelectorAll('.jp-nbc-Mark')].map(mark => mark.textContent),
        title: node.querySelector('svg title')?.textContent ?? '',
        rows: node.querySelectorAll('tr').length,
        elements: [...new Set([...node.querySelectorAll('*')].map(each => each.localName))].sort(),
        text: node.innerText
      }))
    )
  );
};
