package export_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/xuri/excelize/v2"

	"rollcall/domain"
	"rollcall/handlers/export"
)

// many yields n accounts.
func many(n int) iter.Seq[domain.Account] {
	return func(yield func(domain.Account) bool) {
		a := full()
		for i := range n {
			a.Revision = uint64(i) + 1
			a.Profile.Level = domain.Number{Value: uint32(i), Set: i%3 > 0}
			if !yield(a) {
				return
			}
		}
	}
}

func TestTheSameAccountsGiveTheSameBytes(t *testing.T) {
	for _, format := range export.Formats() {
		for _, compression := range packings(format) {
			t.Run(string(format)+" "+string(compression), func(t *testing.T) {
				const rows = 3000 // several writes
				first := encodeAs(t, format, compression, allFields, many(rows))
				if again := encodeAs(t, format, compression, allFields, many(rows)); !bytes.Equal(first, again) {
					t.Errorf("%d bytes and then %d others", len(first), len(again))
				}
				if other := encodeAs(t, format, compression, allFields, many(rows-1)); bytes.Equal(first, other) {
					t.Error("other accounts give the same bytes")
				}
			})
		}
	}
}

// fullStore is a writer that takes some bytes and then no more.
type fullStore struct{ left int }

var errFull = errors.New("full")

func (s *fullStore) Write(b []byte) (int, error) {
	if s.left -= len(b); s.left < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func TestAnErrorOfTheStoreComesThroughEveryFormat(t *testing.T) {
	for _, format := range export.Formats() {
		for _, compression := range packings(format) {
			whole := len(encodeAs(t, format, compression, allFields, many(3000)))
			for _, left := range []int{0, whole / 2, whole - 1} {
				if err := encodeTo(&fullStore{left}, format, compression, allFields, many(3000)); !errors.Is(err, errFull) {
					t.Errorf("%s with %s: after %d of %d bytes the error is %v", format, compression, left, whole, err)
				}
			}
		}
	}
}

func TestWhatIsNoFormatIsRefused(t *testing.T) {
	for _, c := range []struct {
		format      export.Format
		compression export.Compression
	}{{"doc", "none"}, {"", "none"}, {"csv", "zip"}, {"csv", ""}, {"xlsx", "gzip"}, {"xlsx", "zstd"}} {
		if err := encodeTo(&bytes.Buffer{}, c.format, c.compression, allFields, many(1)); !errors.Is(err, domain.CodeInvalid) {
			t.Errorf("%q with %q gives %v", c.format, c.compression, err)
		}
	}
}

// openSheets opens a workbook.
func openSheets(t *testing.T, b []byte) *excelize.File {
	t.Helper()
	f, err := excelize.OpenReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func cellOf(t *testing.T, f *excelize.File, cell string) (value string, kind excelize.CellType) {
	t.Helper()
	value, err := f.GetCellValue("accounts", cell)
	if err != nil {
		t.Fatal(err)
	}
	if kind, err = f.GetCellType("accounts", cell); err != nil {
		t.Fatal(err)
	}
	if formula, err := f.GetCellFormula("accounts", cell); err != nil || formula != "" {
		t.Errorf("cell %s has the formula %q, %v", cell, formula, err)
	}
	return value, kind
}

func TestANicknameThatLooksLikeAFormulaIsTextInASheet(t *testing.T) {
	for _, nickname := range []string{"=1+1", "+1", "@SUM(1)", "007", "'quoted", "_x0041_", " both ends "} {
		a := full()
		a.Profile.Nickname = nickname
		f := openSheets(t, encode(t, export.XLSX, []domain.Field{domain.FieldNickname}, a))
		if value, kind := cellOf(t, f, "A2"); value != nickname || kind != excelize.CellTypeInlineString {
			t.Errorf("%q is %q of type %d", nickname, value, kind)
		}
		id, err := f.GetCellStyle("accounts", "A2")
		if err != nil {
			t.Fatal(err)
		}
		// With another format it would become a formula once somebody edits it.
		const asText = 49
		if style, err := f.GetStyle(id); err != nil || style.NumFmt != asText {
			t.Errorf("%q has the style %+v, %v", nickname, style, err)
		}
	}
}

func TestASheetShowsATimeAsADateAndANumberAsANumber(t *testing.T) {
	a := full()
	a.CreatedAt = a.CreatedAt.Truncate(time.Second) // excelize rounds what it shows
	f := openSheets(t, encode(t, export.XLSX, []domain.Field{domain.FieldCreatedAt, domain.FieldLevel}, a))
	if value, _ := cellOf(t, f, "A2"); value != "2026-01-01 18:04:05.000" {
		t.Errorf("the time is %q", value)
	}
	if value, kind := cellOf(t, f, "B2"); value != "4294967295" || kind == excelize.CellTypeInlineString {
		t.Errorf("the number is %q of type %d", value, kind)
	}
}

func TestWhatASheetWouldRoundIsText(t *testing.T) {
	a := full()
	a.Revision, a.CreatedAt = 1_000_000_000_000_001, time.Date(1900, 2, 28, 1, 2, 3, 4, time.UTC)
	f := openSheets(t, encode(t, export.XLSX, []domain.Field{domain.FieldRevision, domain.FieldCreatedAt}, a))
	for cell, want := range map[string]string{"A2": "1000000000000001", "B2": "1900-02-28T01:02:03.000000004Z"} {
		if value, kind := cellOf(t, f, cell); value != want || kind != excelize.CellTypeInlineString {
			t.Errorf("%s is %q of type %d, want the text %s", cell, value, kind, want)
		}
	}
}

func TestAFullSheetIsFollowedByAnother(t *testing.T) {
	const most = 1 << 20 // rows of a sheet
	b := encodeAs(t, export.XLSX, export.NoCompression, []domain.Field{domain.FieldRevision}, many(most+1))
	for part, want := range map[string]int{"xl/worksheets/sheet1.xml": most, "xl/worksheets/sheet2.xml": 3} {
		if n := bytes.Count(partOf(t, b, part), []byte("<row ")); n != want {
			t.Errorf("%s has %d rows, want %d", part, n, want)
		}
	}
	f := openSheets(t, b)
	if names := f.GetSheetList(); !slices.Equal(names, []string{"accounts", "accounts 2"}) {
		t.Fatalf("sheets are %v", names)
	}
	for cell, want := range map[string]string{"A1": "revision", "A2": "1048576", "A3": "1048577"} {
		if value, err := f.GetCellValue("accounts 2", cell); err != nil || value != want {
			t.Errorf("%s of the second sheet is %q, %v; want %s", cell, value, err, want)
		}
	}
}

// partOf returns a part of a workbook.
func partOf(t *testing.T, workbook []byte, name string) []byte {
	t.Helper()
	archive, err := zip.NewReader(bytes.NewReader(workbook), int64(len(workbook)))
	if err != nil {
		t.Fatal(err)
	}
	part, err := fs.ReadFile(archive, name)
	if err != nil {
		t.Fatal(err)
	}
	return part
}

func openColumns(t *testing.T, b []byte) *parquet.File {
	t.Helper()
	f, err := parquet.OpenFile(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestAParquetFileHasTypedColumns(t *testing.T) {
	fields := []domain.Field{domain.FieldUserID, domain.FieldType, domain.FieldGender, domain.FieldLevel, domain.FieldCreatedAt, domain.FieldRevision}
	f := openColumns(t, encode(t, export.Parquet, fields, full()))
	want := `message account {
	required binary user_id (STRING);
	required binary type (STRING);
	optional binary gender (STRING);
	optional int32 level (INT(32,false));
	required int64 created_at (TIMESTAMP(isAdjustedToUTC=true,unit=NANOS));
	required int64 revision (INT(64,false));
}`
	if got := f.Schema().String(); got != want {
		t.Errorf("the schema is\n%s\nwant\n%s", got, want)
	}
	for i, dictionary := range []bool{false, true, true, false, false, false} {
		chunk := f.Metadata().RowGroups[0].Columns[i].MetaData
		if got := strings.Contains(strings.Join(encodingsOf(chunk.Encoding), " "), "DICTIONARY"); got != dictionary {
			t.Errorf("%s is encoded as %v", fields[i], chunk.Encoding)
		}
	}
}

func encodingsOf[T interface{ String() string }](encodings []T) (names []string) {
	for _, e := range encodings {
		names = append(names, e.String())
	}
	return names
}

func TestRowGroupsAreBoundedByRowsAndByText(t *testing.T) {
	const mostRows, mostText = 122_880, 6 << 20
	long := func(yield func(domain.Account) bool) {
		a := full()
		a.Profile.Nickname = strings.Repeat("x", domain.MaxTextBytes)
		for range 100_000 {
			if !yield(a) {
				return
			}
		}
	}
	for name, c := range map[string]struct {
		field    domain.Field
		accounts iter.Seq[domain.Account]
		rows     int64 // of the first group
	}{
		"rows": {domain.FieldRevision, many(200_000), mostRows},
		"text": {domain.FieldNickname, long, mostText/domain.MaxTextBytes + 128},
	} {
		t.Run(name, func(t *testing.T) {
			f := openColumns(t, encodeAs(t, export.Parquet, export.Zstd, []domain.Field{c.field}, c.accounts))
			groups := f.RowGroups()
			if n := groups[0].NumRows(); len(groups) < 2 || n > c.rows || n < c.rows/2 {
				t.Errorf("there are %d groups, the first of %d rows; want at most %d", len(groups), n, c.rows)
			}
		})
	}
}

func TestAnAccountThatParquetCannotHoldIsNamed(t *testing.T) {
	for want, change := range map[string]func(*domain.Account){
		"it has no type":                         func(a *domain.Account) { a.Type = "" },
		"created_at: the year 2263 does not fit": func(a *domain.Account) { a.CreatedAt = time.Date(2263, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		a := full()
		change(&a)
		err := encodeTo(&bytes.Buffer{}, export.Parquet, export.NoCompression, allFields, slices.Values([]domain.Account{a}))
		if r, ok := errors.AsType[*domain.Rejection](err); !ok || !strings.Contains(r.Detail, "account -minus") || !strings.Contains(r.Detail, want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
