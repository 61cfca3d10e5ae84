// Shows the operations of /openapi.json. Text is only ever set as text.
"use strict";

const methods = ["get", "post", "put", "patch", "delete"];

function make(name, properties, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children.filter((c) => c !== null && c !== undefined));
  return node;
}

function table(heads, rows) {
  if (rows.length === 0) return null;
  return make("table", {},
    make("thead", {}, make("tr", {}, ...heads.map((h) => make("th", { scope: "col", textContent: h })))),
    make("tbody", {}, ...rows.map(({ id, cells }) =>
      make("tr", id ? { id } : {}, ...cells.map((c) => make("td", {}, c ?? ""))))));
}

function code(text) { return make("code", { textContent: text }); }

function resolve(api, schema) {
  return schema?.$ref ? api.components.schemas[schema.$ref.split("/").pop()] : schema;
}

function typeOf(api, schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.oneOf) return schema.oneOf.map((s) => typeOf(api, s)).join(" or ");
  const type = [].concat(schema.type ?? []);
  const names = type.map((t) => (t === "array" ? `array of ${typeOf(api, schema.items)}` : t));
  if (schema.enum) return schema.enum.map((v) => JSON.stringify(v)).join(" or ");
  return names.join(" or ");
}

function about(schema) {
  const parts = [schema?.description];
  if (schema?.minimum !== undefined || schema?.maximum !== undefined) {
    parts.push(`from ${schema.minimum ?? "any"} to ${schema.maximum ?? "any"}`);
  }
  if (schema?.default !== undefined) parts.push(`default ${schema.default}`);
  return parts.filter(Boolean).join("; ");
}

function fields(api, schema) {
  const real = resolve(api, schema);
  const parts = (real?.oneOf ?? [real]).map((s) => resolve(api, s)).filter((s) => s?.properties);
  return parts.map((s) => table(["field", "type", ""], Object.entries(s.properties).map(([name, p]) => ({
    cells: [code(name + ((s.required ?? []).includes(name) ? " (required)" : "")), typeOf(api, p), about(p)],
  }))));
}

function content(api, title, holder) {
  return Object.entries(holder?.content ?? {}).slice(0, 1).flatMap(([type, media]) => [
    make("h4", { textContent: `${title}: ${Object.keys(holder.content).join(", ")}` }),
    ...fields(api, media.schema),
  ]);
}

function operation(api, path, method, op) {
  const parameters = (op.parameters ?? []).map((p) => ({
    cells: [code(p.name), p.in, typeOf(api, p.schema), [p.description, about({ ...p.schema, description: "" })].filter(Boolean).join("; ")],
  }));
  const answers = Object.entries(op.responses ?? {}).filter(([status]) => status !== "default");
  return make("details", { id: op.operationId },
    make("summary", {},
      make("span", { className: "method", textContent: method.toUpperCase() }),
      make("span", { className: "path", textContent: path }),
      make("span", { className: "title", textContent: op.summary ?? "" })),
    make("div", {},
      op.description ? make("p", { textContent: op.description }) : null,
      make("p", { textContent: op.security ? "Needs a token." : "Needs no token." }),
      table(["parameter", "in", "type", ""], parameters),
      ...content(api, "Body", op.requestBody),
      ...answers.flatMap(([status, answer]) => [
        make("h4", { textContent: `Answer ${status}: ${answer.description ?? ""}` }),
        ...content(api, "Type", answer),
        table(["header", ""], Object.entries(answer.headers ?? {}).map(([name, h]) => ({ cells: [code(name), h.schema?.description ?? ""] }))),
      ])));
}

function show(api) {
  document.getElementById("about").prepend(`${api.info.description} `);
  const groups = new Map();
  for (const [path, item] of Object.entries(api.paths)) {
    for (const method of methods.filter((m) => item[m])) {
      const tag = item[method].tags?.[0] ?? "Other";
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(operation(api, path, method, item[method]));
    }
  }
  const problems = table(["code", "status", "meaning"],
    (api["x-problems"] ?? []).map((p) => ({ id: p.code, cells: [code(p.code), String(p.status), p.title] })));
  document.getElementById("operations").replaceChildren(
    ...[...groups].flatMap(([tag, nodes]) => [make("h2", { textContent: tag }), ...nodes]),
    make("h2", { textContent: "Problems" }), problems ?? "");
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target) {
    if (target.tagName === "DETAILS") target.open = true;
    target.scrollIntoView();
  }
}

fetch("/openapi.json")
  .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(`status ${answer.status}`))))
  .then(show)
  .catch((error) => {
    document.getElementById("operations").replaceChildren(make("p", { textContent: `The description cannot be read: ${error.message}` }));
  });
