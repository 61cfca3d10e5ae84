package export

// Styles of cells, by their place in cellXfs. Text has the format of text, so that a cell stays text
// also when somebody edits it.
const (
	xlsxNumberStyle = '0'
	xlsxTextStyle   = '1'
	xlsxTimeStyle   = '2'
	xlsxHeaderStyle = '3'
)

const (
	xmlStart   = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>` + "\n"
	sheetSpace = `http://schemas.openxmlformats.org/spreadsheetml/2006/main`
	office     = `http://schemas.openxmlformats.org/officeDocument/2006/relationships`
	packages   = `http://schemas.openxmlformats.org/package/2006`
	kinds      = `application/vnd.openxmlformats-officedocument.spreadsheetml.`
)

// The parts of a workbook.
const (
	xlsxRoot = xmlStart + `<Relationships xmlns="` + packages + `/relationships">` +
		`<Relationship Id="rId1" Type="` + office + `/officeDocument" Target="xl/workbook.xml"/></Relationships>`

	xlsxStyles = xmlStart + `<styleSheet xmlns="` + sheetSpace + `">` +
		`<numFmts count="1"><numFmt numFmtId="164" formatCode="yyyy\-mm\-dd\ hh:mm:ss.000"/></numFmts>` +
		`<fonts count="2"><font><sz val="11"/><name val="Calibri"/></font><font><b/><sz val="11"/><name val="Calibri"/></font></fonts>` +
		`<fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill></fills>` +
		`<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>` +
		`<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>` +
		`<cellXfs count="4"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>` +
		`<xf numFmtId="49" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>` +
		`<xf numFmtId="164" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>` +
		`<xf numFmtId="49" fontId="1" fillId="0" borderId="0" xfId="0" applyNumberFormat="1" applyFont="1"/></cellXfs>` +
		`<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>`

	xlsxSheetStart = xmlStart + `<worksheet xmlns="` + sheetSpace + `"><sheetViews><sheetView workbookViewId="0">` +
		`<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/></sheetView></sheetViews><cols>`

	xlsxWorkbook      = xmlStart + `<workbook xmlns="` + sheetSpace + `" xmlns:r="` + office + `"><bookViews><workbookView/></bookViews><sheets>%s</sheets></workbook>`
	xlsxWorkbookSheet = `<sheet name="%s" sheetId="%d" r:id="rId%[2]d"/>`

	xlsxRelations = xmlStart + `<Relationships xmlns="` + packages + `/relationships">%s` +
		`<Relationship Id="styles" Type="` + office + `/styles" Target="styles.xml"/></Relationships>`
	xlsxSheetRelation = `<Relationship Id="rId%d" Type="` + office + `/worksheet" Target="worksheets/sheet%[1]d.xml"/>`

	xlsxTypes = xmlStart + `<Types xmlns="` + packages + `/content-types">` +
		`<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>` +
		`<Override PartName="/xl/workbook.xml" ContentType="` + kinds + `sheet.main+xml"/>` +
		`<Override PartName="/xl/styles.xml" ContentType="` + kinds + `styles+xml"/>%s</Types>`
	xlsxSheetType = `<Override PartName="/xl/worksheets/sheet%d.xml" ContentType="` + kinds + `worksheet+xml"/>`
)
