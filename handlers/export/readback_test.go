package export_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/xuri/excelize/v2"
	"pgregory.net/rapid"

	"rollcall/domain"
	"rollcall/handlers/export"
)

// row holds the values of one account by field, the set ones alone: numbers in digits, times as RFC 3339.
type row map[string]string

// reader reads a file by what is not ours. It returns an error for a value that is not of its field's type.
type reader func(b []byte) ([]row, error)

// readers returns a reader of each format. Of xlsx and parquet Debian has none that is both small and
// complete, so that excelize reads the one, and Arrow's command line the other. That one is
// in .ci/tools, for in the module of the program it would raise the version of SQLite.
func readers(t *testing.T) map[export.Format]reader {
	t.Helper()
	tool, file := arrowReader(t), filepath.Join(t.TempDir(), "accounts.parquet")
	return map[export.Format]reader{
		export.CSV: readCSV, export.NDJSON: readNDJSON, export.XLSX: readXLSX,
		export.Parquet: func(b []byte) ([]row, error) { return readParquet(tool, file, b) },
	}
}

func readCSV(b []byte) ([]row, error) {
	records, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, record := range records[1:] {
		r := row{}
		for i, cell := range record {
			if f, _ := domain.FieldNamed(records[0][i]); f.Kind() == domain.KindText {
				cell = export.Unguard(cell)
			}
			if cell != "" {
				r[records[0][i]] = cell
			}
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func readNDJSON(b []byte) ([]row, error) {
	var rows []row
	for line := range bytes.Lines(b) {
		r, err := typed(line, func(_ domain.Field, s string) (time.Time, error) { return time.Parse(`"`+time.RFC3339Nano+`"`, s) })
		if err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// typed reads a JSON object whose texts are strings and whose numbers are numbers.
func typed(b []byte, toTime func(domain.Field, string) (time.Time, error)) (row, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(b, &object); err != nil {
		return nil, err
	}
	r := row{}
	for name, raw := range object {
		f, ok := domain.FieldNamed(name)
		if !ok {
			return nil, fmt.Errorf("there is no field %s", name)
		}
		switch f.Kind() {
		case domain.KindText:
			var s string
			if err := json.Unmarshal(raw, &s); err != nil {
				return nil, err
			}
			r[name] = s
		case domain.KindTime:
			t, err := toTime(f, string(raw))
			if err != nil {
				return nil, err
			}
			r[name] = t.UTC().Format(time.RFC3339Nano)
		default:
			if _, err := strconv.ParseInt(string(raw), 10, 64); err != nil {
				return nil, err
			}
			r[name] = string(raw)
		}
	}
	return r, nil
}

func readXLSX(b []byte) ([]row, error) {
	f, err := excelize.OpenReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sheet := f.GetSheetName(0)
	cells, err := f.GetRows(sheet, excelize.Options{RawCellValue: true})
	if err != nil {
		return nil, err
	}
	rows := make([]row, len(cells)-1)
	for y, line := range cells[1:] {
		rows[y] = row{}
		for x, raw := range line {
			name, err := excelize.CoordinatesToCellName(x+1, y+2)
			if err != nil {
				return nil, err
			}
			kind, err := f.GetCellType(sheet, name)
			if err != nil {
				return nil, err
			}
			if raw == "" && kind == excelize.CellTypeUnset {
				continue
			}
			if rows[y][cells[0][x]], err = sheetValue(cells[0][x], kind, raw); err != nil {
				return nil, fmt.Errorf("cell %s: %w", name, err)
			}
		}
	}
	return rows, nil
}

func sheetValue(field string, kind excelize.CellType, raw string) (string, error) {
	f, ok := domain.FieldNamed(field)
	if text := kind == excelize.CellTypeInlineString; !ok || text != (f.Kind() == domain.KindText) {
		return "", fmt.Errorf("%q of %s is of type %d", raw, field, kind)
	}
	if f.Kind() != domain.KindTime {
		return raw, nil
	}
	days, err := strconv.ParseFloat(raw, 64)
	if err != nil {
		return "", err
	}
	ms := int64(math.Round(days * float64(24*time.Hour/time.Millisecond)))
	epoch := time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC)
	return time.UnixMilli(epoch.UnixMilli() + ms).UTC().Format(time.RFC3339Nano), nil
}

func readParquet(tool, file string, b []byte) ([]row, error) {
	if err := os.WriteFile(file, b, 0o600); err != nil {
		return nil, err
	}
	out, err := exec.Command(tool, "--json", "--no-metadata", file).Output()
	if err != nil || len(out) == 0 { // of a file without rows it says nothing
		return nil, err
	}
	var objects []map[string]json.RawMessage
	if err := json.Unmarshal(out, &objects); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	rows := make([]row, len(objects))
	for i, o := range objects {
		// The command shows numbers of 32 bits without their sign as if they had one.
		for name, raw := range o {
			f, _ := domain.FieldNamed(name)
			if n, err := strconv.ParseInt(string(raw), 10, 32); err == nil && n < 0 && f.Kind() == domain.KindNumber {
				o[name] = strconv.AppendUint(nil, uint64(uint32(n)), 10)
			}
		}
		line, err := json.Marshal(o)
		if err != nil {
			return nil, err
		}
		rows[i], err = typed(line, func(_ domain.Field, s string) (time.Time, error) {
			ns, err := strconv.ParseInt(s, 10, 64)
			return time.Unix(0, ns), err
		})
		if err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// unpack undoes the compression of a whole file.
func unpack(b []byte, format export.Format, compression export.Compression) ([]byte, error) {
	if format == export.Parquet {
		return b, nil
	}
	switch compression {
	case export.Gzip:
		r, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(r)
	case export.Zstd:
		r, err := zstd.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return io.ReadAll(r)
	}
	return b, nil
}

// rowOf returns what a reader is to find of an account.
func rowOf(a domain.Account, format export.Format, fields []domain.Field) row {
	r := row{}
	for _, f := range fields {
		v := a.Value(f)
		switch {
		case !v.Set:
		case f.Kind() == domain.KindNumber:
			r[f.String()] = strconv.FormatUint(v.Number, 10)
		case f.Kind() == domain.KindTime && format == export.XLSX:
			r[f.String()] = v.Time.UTC().Truncate(time.Millisecond).Format(time.RFC3339Nano)
		case f.Kind() == domain.KindTime:
			r[f.String()] = v.Time.UTC().Format(time.RFC3339Nano)
		case format == export.CSV:
			// encoding/csv reads CRLF within quotes as LF; RFC 4180 does not.
			r[f.String()] = strings.ReplaceAll(v.Text, "\r\n", "\n")
		default:
			r[f.String()] = v.Text
		}
	}
	return r
}

// account draws an account that the domain could have.
func account() *rapid.Generator[domain.Account] {
	return rapid.Custom(func(t *rapid.T) domain.Account {
		valid := text().Filter(func(s string) bool { return !strings.ContainsRune(s, 0) })
		number := rapid.Custom(func(t *rapid.T) domain.Number {
			return domain.Number{Value: rapid.Uint32().Draw(t, "value"), Set: true}
		})
		optional := func(name string) (n domain.Number) {
			if rapid.Bool().Draw(t, name+" set") {
				n = number.Draw(t, name)
			}
			return n
		}
		at := func(name string) time.Time {
			const first, last = -2_203_891_200, 9_190_000_000 // March of 1900, the year 2261
			return time.Unix(rapid.Int64Range(first, last).Draw(t, name), rapid.Int64Range(0, 999_999_999).Draw(t, name+" ns"))
		}
		return domain.Account{
			App: app, UserID: domain.UserID(rapid.StringMatching(`[!-~]{1,32}`).Draw(t, "user_id")), Type: rapid.SampledFrom([]domain.AccountType{domain.TypeNormal, domain.TypeAdmin}).Draw(t, "type"),
			Profile: domain.Profile{
				Nickname: valid.Draw(t, "nickname"), SelfSignature: valid.Draw(t, "self_signature"), Location: valid.Draw(t, "location"), Birthday: rapid.Uint32().Draw(t, "birthday"),
				Gender: rapid.SampledFrom([]domain.Gender{"", domain.GenderMale}).Draw(t, "gender"), AllowType: rapid.SampledFrom([]domain.AllowType{"", domain.AllowAny}).Draw(t, "allow_type"),
				Language: optional("language"), Level: optional("level"), Role: optional("role"), MsgSettings: optional("msg_settings"),
			},
			CreatedAt: at("created_at"), UpdatedAt: at("updated_at"), Revision: rapid.Uint64Range(1, 999_999_999_999_999).Draw(t, "revision"),
		}
	})
}

// packings returns the compressions of a format.
func packings(f export.Format) []export.Compression {
	if f == export.XLSX {
		return []export.Compression{export.NoCompression}
	}
	return export.Compressions()
}

func TestEveryAccountComesBackFromEveryFormat(t *testing.T) {
	for format, read := range readers(t) {
		t.Run(string(format), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				accounts := rapid.SliceOfN(account(), 0, 5).Draw(t, "accounts")
				fields := rapid.Permutation(allFields).Draw(t, "fields")
				fields = fields[:rapid.IntRange(1, len(fields)).Draw(t, "number of fields")]
				compression := rapid.SampledFrom(packings(format)).Draw(t, "compression")
				b, err := unpack(encodeAs(t, format, compression, fields, slices.Values(accounts)), format, compression)
				if err != nil {
					t.Fatal(err)
				}
				got, err := read(b)
				if err != nil {
					t.Fatal(err)
				}
				checkRows(t, got, accounts, format, fields)
			})
		})
	}
}

func checkRows(t *rapid.T, got []row, accounts []domain.Account, format export.Format, fields []domain.Field) {
	if format == export.XLSX { // excelize leaves out empty rows at the end
		for len(got) < len(accounts) {
			got = append(got, row{})
		}
	}
	if len(got) != len(accounts) {
		t.Fatalf("%d accounts are read as %d rows", len(accounts), len(got))
	}
	for i, a := range accounts {
		want := rowOf(a, format, fields)
		for _, f := range fields {
			if g, w := got[i][f.String()], want[f.String()]; g != w {
				t.Fatalf("%s of row %d is %q, want %q", f, i, g, w)
			}
		}
		if len(got[i]) != len(want) {
			t.Fatalf("row %d is %v, want %v", i, got[i], want)
		}
	}
}

// arrowReader returns Arrow's command line of the module .ci/tools, which the go command builds unless it has it.
func arrowReader(t *testing.T) string {
	t.Helper()
	const building = 5 * time.Minute
	ctx, cancel := context.WithTimeout(t.Context(), building)
	defer cancel()
	var errs strings.Builder
	build := exec.CommandContext(ctx, "go", "tool", "-n", "parquet_reader")
	build.Dir, build.Stderr = filepath.Join("..", "..", ".ci", "tools"), &errs
	out, err := build.Output()
	if err != nil {
		t.Fatalf("build Arrow's reader of parquet: %v: %s", err, errs.String())
	}
	return strings.TrimSpace(string(out))
}
