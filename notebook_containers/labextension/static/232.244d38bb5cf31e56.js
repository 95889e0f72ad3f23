"use strict";(self.rspackChunknotebook_containers=self.rspackChunknotebook_containers||[]).push([[232],{475(r,o,e){var t=e(601),n=e.n(t),a=e(314),p=(e.n(a))()(n());p.push([r.id,`.jp-nbc-Panel .jp-SidePanel-header {
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
`,""]),e.d(o,{},{A:p})},314(r){r.exports=function(r){var o=[];return o.toString=function(){return this.map(function(o){var e="",t=void 0!==o[5];return o[4]&&(e+="@supports (".concat(o[4],") {")),o[2]&&(e+="@media ".concat(o[2]," {")),t&&(e+="@layer".concat(o[5].length>0?" ".concat(o[5]):""," {")),e+=r(o),t&&(e+="}"),o[2]&&(e+="}"),o[4]&&(e+="}"),e}).join("")},o.i=function(r,e,t,n,a){"string"==typeof r&&(r=[[null,r,void 0]]);var p={};if(t)for(var i=0;i<this.length;i++){var c=this[i][0];null!=c&&(p[c]=!0)}for(var l=0;l<r.length;l++){var s=[].concat(r[l]);t&&p[s[0]]||(void 0!==a&&(void 0===s[5]||(s[1]="@layer".concat(s[5].length>0?" ".concat(s[5]):""," {").concat(s[1],"}")),s[5]=a),e&&(s[2]&&(s[1]="@media ".concat(s[2]," {").concat(s[1],"}")),s[2]=e),n&&(s[4]?(s[1]="@supports (".concat(s[4],") {").concat(s[1],"}"),s[4]=n):s[4]="".concat(n)),o.push(s))}},o}},601(r){r.exports=function(r){return r[1]}},72(r){var o=[];function e(r){for(var e=-1,t=0;t<o.length;t++)if(o[t].identifier===r){e=t;break}return e}function t(r,t){for(var n={},a=[],p=0;p<r.length;p++){var i=r[p],c=t.base?i[0]+t.base:i[0],l=n[c]||0,s="".concat(c," ").concat(l);n[c]=l+1;var d=e(s),u={css:i[1],media:i[2],sourceMap:i[3],supports:i[4],layer:i[5]};if(-1!==d)o[d].references++,o[d].updater(u);else{var b=function(r,o){var e=o.domAPI(o);return e.update(r),function(o){o?(o.css!==r.css||o.media!==r.media||o.sourceMap!==r.sourceMap||o.supports!==r.supports||o.layer!==r.layer)&&e.update(r=o):e.remove()}}(u,t);t.byIndex=p,o.splice(p,0,{identifier:s,updater:b,references:1})}a.push(s)}return a}r.exports=function(r,n){var a=t(r=r||[],n=n||{});return function(r){r=r||[];for(var p=0;p<a.length;p++){var i=e(a[p]);o[i].references--}for(var c=t(r,n),l=0;l<a.length;l++){var s=e(a[l]);0===o[s].references&&(o[s].updater(),o.splice(s,1))}a=c}}},659(r){var o={};r.exports=function(r,e){var t=function(r){if(void 0===o[r]){var e=document.querySelector(r);if(window.HTMLIFrameElement&&e instanceof window.HTMLIFrameElement)try{e=e.contentDocument.head}catch(r){e=null}o[r]=e}return o[r]}(r);if(!t)throw Error("Couldn't find a style target. This probably means that the value for the 'insert' parameter is invalid.");t.appendChild(e)}},540(r){r.exports=function(r){var o=document.createElement("style");return r.setAttributes(o,r.attributes),r.insert(o,r.options),o}},56(r,o,e){r.exports=function(r){var o=e.nc;o&&r.setAttribute("nonce",o)}},825(r){r.exports=function(r){if("u"<typeof document)return{update:function(){},remove:function(){}};var o=r.insertStyleElement(r);return{update:function(e){var t,n,a;t="",e.supports&&(t+="@supports (".concat(e.supports,") {")),e.media&&(t+="@media ".concat(e.media," {")),(n=void 0!==e.layer)&&(t+="@layer".concat(e.layer.length>0?" ".concat(e.layer):""," {")),t+=e.css,n&&(t+="}"),e.media&&(t+="}"),e.supports&&(t+="}"),(a=e.sourceMap)&&"u">typeof btoa&&(t+="\n/*# sourceMappingURL=data:application/json;base64,".concat(btoa(unescape(encodeURIComponent(JSON.stringify(a))))," */")),r.styleTagTransform(t,o,r.options)},remove:function(){var r;null===(r=o).parentNode||r.parentNode.removeChild(r)}}}},113(r){r.exports=function(r,o){if(o.styleSheet)o.styleSheet.cssText=r;else{for(;o.firstChild;)o.removeChild(o.firstChild);o.appendChild(document.createTextNode(r))}}},579(r,o,e){var t=e(72),n=e.n(t),a=e(825),p=e.n(a),i=e(659),c=e.n(i),l=e(56),s=e.n(l),d=e(540),u=e.n(d),b=e(113),f=e.n(b),j=e(475),v={};v.styleTagTransform=f(),v.setAttributes=s(),v.insert=c().bind(null,"head"),v.domAPI=p(),v.insertStyleElement=u(),n()(j.A,v),j.A&&j.A.locals&&j.A.locals}}]);