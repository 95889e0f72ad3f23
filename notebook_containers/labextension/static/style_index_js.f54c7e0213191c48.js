"use strict";(self.rspackChunknotebook_containers=self.rspackChunknotebook_containers||[]).push([["style_index_js"],{"./node_modules/css-loader/dist/cjs.js!./style/base.css"(e,o,t){var r=t("./node_modules/css-loader/dist/runtime/noSourceMaps.js"),n=t.n(r),a=t("./node_modules/css-loader/dist/runtime/api.js"),i=(t.n(a))()(n());i.push([e.id,`.jp-nbc-Panel .jp-SidePanel-header {
  border: 0;
  padding: 0;
  font-size: var(--jp-ui-font-size1);
  font-weight: normal;
  letter-spacing: normal;
  text-transform: none;
}

.jp-nbc-Panel .jp-SidePanel-header > .lm-Widget {
  flex: 1 1 auto;
}

.jp-nbc-Section {
  overflow: auto;
}

.jp-nbc-Hidden {
  position: absolute;
  width: 1px;
  height: 1px;
  overflow: hidden;
  clip-path: inset(50%);
  white-space: nowrap;
}

.jp-nbc-Notice {
  margin: 8px;
  padding: 8px 10px;
  border-left: 3px solid var(--jp-warn-color1);
  background: var(--jp-layout-color2);
  overflow-wrap: anywhere;
  line-height: 1.4;
}

.jp-nbc-Notice[data-kind='error'] {
  border-left-color: var(--jp-error-color1);
}

.jp-nbc-Notice p {
  margin: 4px 0 0;
}

.jp-nbc-TextButton {
  margin-top: 8px;
  padding: 2px 8px;
  border: var(--jp-border-width) solid var(--jp-border-color1);
  border-radius: var(--jp-border-radius);
  background: var(--jp-layout-color1);
  color: var(--jp-ui-font-color1);
  font-size: inherit;
  cursor: pointer;
}

.jp-nbc-TextButton:hover {
  background: var(--jp-layout-color3);
}

.jp-nbc-Empty {
  padding: 12px;
  color: var(--jp-ui-font-color2);
  line-height: 1.4;
}

.jp-nbc-Empty p {
  margin: 0 0 8px;
}

.jp-nbc-Empty pre {
  margin: 0;
  padding: 8px;
  border-radius: var(--jp-border-radius);
  background: var(--jp-layout-color2);
  color: var(--jp-ui-font-color1);
  font-family: var(--jp-code-font-family);
  font-size: var(--jp-ui-font-size0);
  white-space: pre-wrap;
  user-select: text;
}

.jp-nbc-List {
  margin: 0;
  padding: 4px 0;
  list-style: none;
}

.jp-nbc-Row {
  display: flex;
  align-items: flex-start;
  gap: 2px;
  padding: 6px 6px 6px 12px;
  line-height: 1.45;
}

.jp-nbc-Row:hover {
  background: var(--jp-layout-color2);
}

.jp-nbc-Row:focus-visible,
.jp-nbc-Button:focus-visible,
.jp-nbc-TextButton:focus-visible {
  outline: 2px solid var(--jp-focus-outline-color, var(--jp-brand-color1));
  outline-offset: -2px;
}

.jp-nbc-Text {
  flex: 1 1 auto;
  min-width: 0;
}

.jp-nbc-Name,
.jp-nbc-Detail {
  overflow: hidden;
  text-overflow: ellipsis;
  white-space: nowrap;
}

.jp-nbc-Name {
  color: var(--jp-ui-font-color0);
  font-weight: 600;
}

.jp-nbc-Detail {
  color: var(--jp-ui-font-color2);
  font-size: var(--jp-ui-font-size0);
}

.jp-nbc-Port {
  font-family: var(--jp-code-font-family);
}

.jp-nbc-State {
  display: inline-block;
  box-sizing: border-box;
  width: 8px;
  height: 8px;
  margin-right: 6px;
  border: 2px solid var(--jp-ui-font-color3);
  border-radius: 50%;
}

.jp-nbc-State[data-state='running'] {
  border-color: var(--jp-success-color1);
  background: var(--jp-success-color1);
}

.jp-nbc-State[data-state='paused'],
.jp-nbc-State[data-state='restarting'] {
  border-color: var(--jp-warn-color1);
}

.jp-nbc-State[data-state='dead'] {
  border-color: var(--jp-error-color1);
}

.jp-nbc-Button {
  display: flex;
  flex: 0 0 auto;
  padding: 4px;
  border: 0;
  border-radius: var(--jp-border-radius);
  background: transparent;
  cursor: pointer;
}

.jp-nbc-Button:hover:enabled {
  background: var(--jp-layout-color3);
}

.jp-nbc-Button:disabled {
  opacity: 0.4;
  cursor: default;
}

.jp-nbc-Button svg {
  display: block;
}

.jp-nbc-Layers {
  padding: 8px 0;
  color: var(--jp-ui-font-color1);
  font-size: var(--jp-ui-font-size1);
}

.jp-nbc-Layers p {
  margin: 4px 0 8px;
  color: var(--jp-ui-font-color2);
}

.jp-nbc-Scroll {
  overflow-x: auto;
}

.jp-nbc-Diagram {
  --jp-nbc-fill: var(--jp-layout-color2);
  --jp-nbc-ink: var(--jp-ui-font-color1);

  display: block;
  min-width: 640px;
  max-width: 100%;
  height: auto;
  font-family: var(--jp-ui-font-family);
}

.jp-nbc-Shape {
  fill: var(--jp-nbc-fill);
}

.jp-nbc-Shape[data-kind='rect'] {
  stroke: var(--jp-nbc-stroke, transparent);
}

.jp-nbc-Shape[data-role='head'] {
  --jp-nbc-fill: var(--jp-layout-color3);
  --jp-nbc-ink: var(--jp-ui-font-color0);
}

.jp-nbc-Shape[data-role='own'] {
  --jp-nbc-stroke: var(--jp-border-color1);
}

.jp-nbc-Shape[data-role='empty'] {
  --jp-nbc-fill: var(--jp-layout-color1);
  --jp-nbc-ink: var(--jp-ui-font-color2);
  --jp-nbc-stroke: var(--jp-border-color2);
}

.jp-nbc-Shape[data-role='shared'] {
  --jp-nbc-fill: var(--jp-nbc-shared);
  --jp-nbc-ink: var(--jp-ui-font-color0);
}

.jp-nbc-Shape[data-kind='text'],
.jp-nbc-Shape[data-kind='rect'].jp-mod-inverse {
  fill: var(--jp-nbc-ink);
  stroke: none;
}

.jp-nbc-Shape[data-kind='text'].jp-mod-inverse {
  fill: var(--jp-layout-color1);
}

.jp-nbc-Shape[data-kind='ribbon'] {
  fill: var(--jp-nbc-shared);
}

.jp-nbc-Diagram .jp-mod-code {
  font-family: var(--jp-code-font-family);
}

.jp-nbc-Diagram .jp-mod-strong {
  font-weight: bold;
}

.jp-nbc-Layers td,
.jp-nbc-Layers th {
  padding: 2px 12px 2px 0;
  text-align: left;
  vertical-align: top;
}

.jp-nbc-Layers td:nth-child(n + 3) {
  white-space: nowrap;
}
`,""]),t.d(o,{},{A:i})},"./node_modules/css-loader/dist/runtime/api.js"(e){e.exports=function(e){var o=[];return o.toString=function(){return this.map(function(o){var t="",r=void 0!==o[5];return o[4]&&(t+="@supports (".concat(o[4],") {")),o[2]&&(t+="@media ".concat(o[2]," {")),r&&(t+="@layer".concat(o[5].length>0?" ".concat(o[5]):""," {")),t+=e(o),r&&(t+="}"),o[2]&&(t+="}"),o[4]&&(t+="}"),t}).join("")},o.i=function(e,t,r,n,a){"string"==typeof e&&(e=[[null,e,void 0]]);var i={};if(r)for(var s=0;s<this.length;s++){var l=this[s][0];null!=l&&(i[l]=!0)}for(var p=0;p<e.length;p++){var c=[].concat(e[p]);r&&i[c[0]]||(void 0!==a&&(void 0===c[5]||(c[1]="@layer".concat(c[5].length>0?" ".concat(c[5]):""," {").concat(c[1],"}")),c[5]=a),t&&(c[2]&&(c[1]="@media ".concat(c[2]," {").concat(c[1],"}")),c[2]=t),n&&(c[4]?(c[1]="@supports (".concat(c[4],") {").concat(c[1],"}"),c[4]=n):c[4]="".concat(n)),o.push(c))}},o}},"./node_modules/css-loader/dist/runtime/noSourceMaps.js"(e){e.exports=function(e){return e[1]}},"./node_modules/style-loader/dist/runtime/injectStylesIntoStyleTag.js"(e){var o=[];function t(e){for(var t=-1,r=0;r<o.length;r++)if(o[r].identifier===e){t=r;break}return t}function r(e,r){for(var n={},a=[],i=0;i<e.length;i++){var s=e[i],l=r.base?s[0]+r.base:s[0],p=n[l]||0,c="".concat(l," ").concat(p);n[l]=p+1;var d=t(c),u={css:s[1],media:s[2],sourceMap:s[3],supports:s[4],layer:s[5]};if(-1!==d)o[d].references++,o[d].updater(u);else{var j=function(e,o){var t=o.domAPI(o);return t.update(e),function(o){o?(o.css!==e.css||o.media!==e.media||o.sourceMap!==e.sourceMap||o.supports!==e.supports||o.layer!==e.layer)&&t.update(e=o):t.remove()}}(u,r);r.byIndex=i,o.splice(i,0,{identifier:c,updater:j,references:1})}a.push(c)}return a}e.exports=function(e,n){var a=r(e=e||[],n=n||{});return function(e){e=e||[];for(var i=0;i<a.length;i++){var s=t(a[i]);o[s].references--}for(var l=r(e,n),p=0;p<a.length;p++){var c=t(a[p]);0===o[c].references&&(o[c].updater(),o.splice(c,1))}a=l}}},"./node_modules/style-loader/dist/runtime/insertBySelector.js"(e){var o={};e.exports=function(e,t){var r=function(e){if(void 0===o[e]){var t=document.querySelector(e);if(window.HTMLIFrameElement&&t instanceof window.HTMLIFrameElement)try{t=t.contentDocument.head}catch(e){t=null}o[e]=t}return o[e]}(e);if(!r)throw Error("Couldn't find a style target. This probably means that the value for the 'insert' parameter is invalid.");r.appendChild(t)}},"./node_modules/style-loader/dist/runtime/insertStyleElement.js"(e){e.exports=function(e){var o=document.createElement("style");return e.setAttributes(o,e.attributes),e.insert(o,e.options),o}},"./node_modules/style-loader/dist/runtime/setAttributesWithoutAttributes.js"(e,o,t){e.exports=function(e){var o=t.nc;o&&e.setAttribute("nonce",o)}},"./node_modules/style-loader/dist/runtime/styleDomAPI.js"(e){e.exports=function(e){if("u"<typeof document)return{update:function(){},remove:function(){}};var o=e.insertStyleElement(e);return{update:function(t){var r,n,a;r="",t.supports&&(r+="@supports (".concat(t.supports,") {")),t.media&&(r+="@media ".concat(t.media," {")),(n=void 0!==t.layer)&&(r+="@layer".concat(t.layer.length>0?" ".concat(t.layer):""," {")),r+=t.css,n&&(r+="}"),t.media&&(r+="}"),t.supports&&(r+="}"),(a=t.sourceMap)&&"u">typeof btoa&&(r+="\n/*# sourceMappingURL=data:application/json;base64,".concat(btoa(unescape(encodeURIComponent(JSON.stringify(a))))," */")),e.styleTagTransform(r,o,e.options)},remove:function(){var e;null===(e=o).parentNode||e.parentNode.removeChild(e)}}}},"./node_modules/style-loader/dist/runtime/styleTagTransform.js"(e){e.exports=function(e,o){if(o.styleSheet)o.styleSheet.cssText=e;else{for(;o.firstChild;)o.removeChild(o.firstChild);o.appendChild(document.createTextNode(e))}}},"./style/index.js"(e,o,t){var r=t("./node_modules/style-loader/dist/runtime/injectStylesIntoStyleTag.js"),n=t.n(r),a=t("./node_modules/style-loader/dist/runtime/styleDomAPI.js"),i=t.n(a),s=t("./node_modules/style-loader/dist/runtime/insertBySelector.js"),l=t.n(s),p=t("./node_modules/style-loader/dist/runtime/setAttributesWithoutAttributes.js"),c=t.n(p),d=t("./node_modules/style-loader/dist/runtime/insertStyleElement.js"),u=t.n(d),j=t("./node_modules/style-loader/dist/runtime/styleTagTransform.js"),b=t.n(j),f=t("./node_modules/css-loader/dist/cjs.js!./style/base.css"),m={};m.styleTagTransform=b(),m.setAttributes=c(),m.insert=l().bind(null,"head"),m.domAPI=i(),m.insertStyleElement=u(),n()(f.A,m),f.A&&f.A.locals&&f.A.locals}}]);