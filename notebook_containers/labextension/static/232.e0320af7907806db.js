"use strict";(self.rspackChunknotebook_containers=self.rspackChunknotebook_containers||[]).push([[232],{475(e,r,o){var t=o(601),n=o.n(t),a=o(314),i=(o.n(a))()(n());i.push([e.id,`.jp-nbc-Panel .jp-SidePanel-header {
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
`,""]),o.d(r,{},{A:i})},314(e){e.exports=function(e){var r=[];return r.toString=function(){return this.map(function(r){var o="",t=void 0!==r[5];return r[4]&&(o+="@supports (".concat(r[4],") {")),r[2]&&(o+="@media ".concat(r[2]," {")),t&&(o+="@layer".concat(r[5].length>0?" ".concat(r[5]):""," {")),o+=e(r),t&&(o+="}"),r[2]&&(o+="}"),r[4]&&(o+="}"),o}).join("")},r.i=function(e,o,t,n,a){"string"==typeof e&&(e=[[null,e,void 0]]);var i={};if(t)for(var c=0;c<this.length;c++){var p=this[c][0];null!=p&&(i[p]=!0)}for(var s=0;s<e.length;s++){var l=[].concat(e[s]);t&&i[l[0]]||(void 0!==a&&(void 0===l[5]||(l[1]="@layer".concat(l[5].length>0?" ".concat(l[5]):""," {").concat(l[1],"}")),l[5]=a),o&&(l[2]&&(l[1]="@media ".concat(l[2]," {").concat(l[1],"}")),l[2]=o),n&&(l[4]?(l[1]="@supports (".concat(l[4],") {").concat(l[1],"}"),l[4]=n):l[4]="".concat(n)),r.push(l))}},r}},601(e){e.exports=function(e){return e[1]}},72(e){var r=[];function o(e){for(var o=-1,t=0;t<r.length;t++)if(r[t].identifier===e){o=t;break}return o}function t(e,t){for(var n={},a=[],i=0;i<e.length;i++){var c=e[i],p=t.base?c[0]+t.base:c[0],s=n[p]||0,l="".concat(p," ").concat(s);n[p]=s+1;var d=o(l),u={css:c[1],media:c[2],sourceMap:c[3],supports:c[4],layer:c[5]};if(-1!==d)r[d].references++,r[d].updater(u);else{var f=function(e,r){var o=r.domAPI(r);return o.update(e),function(r){r?(r.css!==e.css||r.media!==e.media||r.sourceMap!==e.sourceMap||r.supports!==e.supports||r.layer!==e.layer)&&o.update(e=r):o.remove()}}(u,t);t.byIndex=i,r.splice(i,0,{identifier:l,updater:f,references:1})}a.push(l)}return a}e.exports=function(e,n){var a=t(e=e||[],n=n||{});return function(e){e=e||[];for(var i=0;i<a.length;i++){var c=o(a[i]);r[c].references--}for(var p=t(e,n),s=0;s<a.length;s++){var l=o(a[s]);0===r[l].references&&(r[l].updater(),r.splice(l,1))}a=p}}},659(e){var r={};e.exports=function(e,o){var t=function(e){if(void 0===r[e]){var o=document.querySelector(e);if(window.HTMLIFrameElement&&o instanceof window.HTMLIFrameElement)try{o=o.contentDocument.head}catch(e){o=null}r[e]=o}return r[e]}(e);if(!t)throw Error("Couldn't find a style target. This probably means that the value for the 'insert' parameter is invalid.");t.appendChild(o)}},540(e){e.exports=function(e){var r=document.createElement("style");return e.setAttributes(r,e.attributes),e.insert(r,e.options),r}},56(e,r,o){e.exports=function(e){var r=o.nc;r&&e.setAttribute("nonce",r)}},825(e){e.exports=function(e){if("u"<typeof document)return{update:function(){},remove:function(){}};var r=e.insertStyleElement(e);return{update:function(o){var t,n,a;t="",o.supports&&(t+="@supports (".concat(o.supports,") {")),o.media&&(t+="@media ".concat(o.media," {")),(n=void 0!==o.layer)&&(t+="@layer".concat(o.layer.length>0?" ".concat(o.layer):""," {")),t+=o.css,n&&(t+="}"),o.media&&(t+="}"),o.supports&&(t+="}"),(a=o.sourceMap)&&"u">typeof btoa&&(t+="\n/*# sourceMappingURL=data:application/json;base64,".concat(btoa(unescape(encodeURIComponent(JSON.stringify(a))))," */")),e.styleTagTransform(t,r,e.options)},remove:function(){var e;null===(e=r).parentNode||e.parentNode.removeChild(e)}}}},113(e){e.exports=function(e,r){if(r.styleSheet)r.styleSheet.cssText=e;else{for(;r.firstChild;)r.removeChild(r.firstChild);r.appendChild(document.createTextNode(e))}}},579(e,r,o){var t=o(72),n=o.n(t),a=o(825),i=o.n(a),c=o(659),p=o.n(c),s=o(56),l=o.n(s),d=o(540),u=o.n(d),f=o(113),b=o.n(f),v=o(475),j={};j.styleTagTransform=b(),j.setAttributes=l(),j.insert=p().bind(null,"head"),j.domAPI=i(),j.insertStyleElement=u(),n()(v.A,j),v.A&&v.A.locals&&v.A.locals}}]);