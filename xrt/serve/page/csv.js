// CSV and TSV, as spreadsheets write them.

import { Fault } from "./api.js";

/** Rows of cells. The separator is the one of tab, comma and semicolon that the first row has most of. */
function parse(text) {
  const source = text.replace(/^\ufeff/, "");
  const separator = separatorOf(source);
  const rows = [];
  let row = [];
  let cell = "";
  let quoted = false;
  const endRow = () => {
    row.push(cell);
    if (row.length > 1 || row[0].trim() !== "") rows.push(row);
    row = [];
    cell = "";
  };
  for (let i = 0; i < source.length; i += 1) {
    const sign = source[i];
    if (quoted) {
      if (sign !== '"') cell += sign;
      else if (source[i + 1] === '"') {
        cell += '"';
        i += 1;
      } else quoted = false;
    } else if (sign === '"' && cell === "") quoted = true;
    else if (sign === separator) {
      row.push(cell);
      cell = "";
    } else if (sign === "\n" || sign === "\r") {
      if (sign === "\r" && source[i + 1] === "\n") i += 1;
      endRow();
    } else cell += sign;
  }
  if (quoted) throw new Fault(`row ${rows.length + 1} has a quote that is not closed; close it and drop the file again`);
  if (cell !== "" || row.length) endRow();
  return rows;
}

function separatorOf(source) {
  const counts = { ",": 0, "\t": 0, ";": 0 };
  let quoted = false;
  for (const sign of source.slice(0, 65536)) {
    if (sign === '"') quoted = !quoted;
    else if (!quoted && sign in counts) counts[sign] += 1;
    else if (!quoted && sign === "\n") break;
  }
  return Object.keys(counts).reduce((best, sign) => (counts[sign] > counts[best] ? sign : best), ",");
}

/** A header and records (objects by column) of a text; names that are empty or stand twice get a number. */
function records(text) {
  const rows = parse(text);
  if (rows.length < 2) throw new Fault("the file needs a row of column names and at least one row below it");
  const columns = [];
  rows[0].forEach((name, i) => {
    const plain = name.trim() || `column ${i + 1}`;
    columns.push(columns.includes(plain) ? `${plain} (${i + 1})` : plain);
  });
  const items = rows.slice(1).map((cells, i) => {
    if (cells.length > columns.length) {
      throw new Fault(`row ${i + 2} has ${cells.length} cells for ${columns.length} columns; quote cells that hold the separator`);
    }
    return new Map(columns.map((name, c) => [name, cells[c] ?? ""]));
  });
  return { columns, items };
}

/** CSV of a header and rows. */
export function format(columns, rows) {
  return [columns, ...rows].map((row) => row.map(quote).join(",")).join("\r\n") + "\r\n";
}

// a spreadsheet would run such a cell as a formula; numbers stay as they are
const FORMULA = /^(?:[=@\t\r]|[+-](?!\d[\d.,\s]*$))/;

function quote(value) {
  const text = value === null || value === undefined ? "" : String(value);
  const safe = FORMULA.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** The header and records of a file; a Fault names the file. */
export async function readTable(file, mostBytes) {
  const text = await readText(file, mostBytes);
  try {
    return records(text);
  } catch (error) {
    throw error instanceof Fault ? new Fault(`${file.name}: ${error.message}`) : error;
  }
}

/** The text of a file, which must be UTF-8 or UTF-16 with a mark. */
export async function readText(file, mostBytes) {
  if (file.size > mostBytes) {
    throw new Fault(`${file.name} has ${(file.size / 1e6).toFixed(0)} MB, ${(mostBytes / 1e6).toFixed(0)} are allowed here; use xrt predict for it`);
  }
  const bytes = new Uint8Array(await file.arrayBuffer());
  const wide = bytes[0] === 0xff && bytes[1] === 0xfe ? "utf-16le" : bytes[0] === 0xfe && bytes[1] === 0xff ? "utf-16be" : "utf-8";
  try {
    return new TextDecoder(wide, { fatal: true }).decode(bytes);
  } catch {
    throw new Fault(`${file.name} is not UTF-8; save it as UTF-8 and drop it again`);
  }
}

/** Whether a file is a table by its name. */
export const isTable = (file) => /\.(csv|tsv)$/i.test(file.name);
