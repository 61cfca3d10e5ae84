package export_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"rollcall/domain"
	"rollcall/handlers/export"
)

// encode returns the bytes of a file.
func encode(t interface{ Fatal(...any) }, format export.Format, fields []domain.Field, accounts ...domain.Account) []byte {
	return encodeAs(t, format, export.NoCompression, fields, slices.Values(accounts))
}

func encodeAs(t interface{ Fatal(...any) }, format export.Format, compression export.Compression, fields []domain.Field, accounts iter.Seq[domain.Account]) []byte {
	var b bytes.Buffer
	if err := encodeTo(&b, format, compression, fields, accounts); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func encodeTo(w io.Writer, format export.Format, compression export.Compression, fields []domain.Field, accounts iter.Seq[domain.Account]) error {
	enc, err := export.NewEncoder(w, format, compression, fields)
	if err != nil {
		return err
	}
	for a := range accounts {
		if err := enc.Append(&a); err != nil {
			return err
		}
	}
	return enc.End()
}

var allFields = slices.Collect(domain.AllFields.All())

func full() domain.Account {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.FixedZone("KST", 9*3600))
	return domain.Account{
		App: "shop", UserID: "-minus", Type: domain.TypeAdmin,
		Profile: domain.Profile{
			Nickname: "김 \"철수\", <b>", FaceURL: "https://example.org/a.png?x=1&y=2", Gender: domain.GenderMale, Birthday: 19991231,
			Location: "서울", SelfSignature: "=1+1\nsecond", AllowType: domain.AllowAny, Language: domain.Num(0), MsgSettings: domain.Num(1),
			AdminForbidType: domain.ForbidNone, Level: domain.Num(4294967295), Role: domain.Num(7),
		},
		CreatedAt: at, UpdatedAt: at.Add(time.Nanosecond), Revision: 42,
	}
}

func TestAnNDJSONLineIsWrittenLikeThis(t *testing.T) {
	got := string(encode(t, export.NDJSON, allFields, full(), domain.Account{App: "shop", UserID: "u", Type: domain.TypeNormal}))
	want := `{"app":"shop","user_id":"-minus","type":"admin","nickname":"김 \"철수\", <b>","face_url":"https://example.org/a.png?x=1&y=2",` +
		`"gender":"male","birthday":19991231,"location":"서울","self_signature":"=1+1\nsecond","allow_type":"allow_any","language":0,"msg_settings":1,` +
		`"admin_forbid_type":"none","level":4294967295,"role":7,"created_at":"2026-01-01T18:04:05.678Z","updated_at":"2026-01-01T18:04:05.678000001Z","revision":42}` + "\n" +
		`{"app":"shop","user_id":"u","type":"normal"}` + "\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestACSVFileIsWrittenLikeThis(t *testing.T) {
	fields := []domain.Field{domain.FieldNickname, domain.FieldUserID, domain.FieldSelfSignature, domain.FieldLanguage, domain.FieldCreatedAt}
	got := string(encode(t, export.CSV, fields, full(), domain.Account{UserID: "u"}))
	want := "nickname,user_id,self_signature,language,created_at\r\n" +
		"\"김 \"\"철수\"\", <b>\",'-minus,\"'=1+1\nsecond\",0,2026-01-01T18:04:05.678Z\r\n" +
		",u,,,\r\n"
	if got != want {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

func TestACellThatIsAloneAndEmptyIsStillALine(t *testing.T) {
	b := encode(t, export.CSV, []domain.Field{domain.FieldNickname}, domain.Account{UserID: "u"})
	records, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
	if err != nil || len(records) != 2 {
		t.Errorf("%q is read as %q, %v; want a header and one record", b, records, err)
	}
}

// text draws text that is hard on encoders and spreadsheets.
func text() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.String(),
		rapid.StringOfN(rapid.SampledFrom([]rune("=+-@\t\r\n'\",;\\ aé한🙂＝＠\u2028\u0001/")), 0, 12, -1),
	)
}

func TestEveryTextComesBackFromCSV(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := domain.Account{App: "shop", UserID: "u", Profile: domain.Profile{Nickname: text().Draw(t, "nickname"), SelfSignature: text().Draw(t, "signature")}}
		fields := rapid.Permutation([]domain.Field{domain.FieldApp, domain.FieldNickname, domain.FieldSelfSignature}).Draw(t, "fields")
		b := encode(t, export.CSV, fields, a)
		records, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
		if err != nil || len(records) != 2 || len(records[1]) != len(fields) {
			t.Fatalf("%q is read as %q, %v", b, records, err)
		}
		for i, f := range fields {
			// encoding/csv reads CRLF within quotes as LF; RFC 4180 does not.
			want := strings.ReplaceAll(a.Value(f).Text, "\r\n", "\n")
			cell := records[1][i]
			if got := export.Unguard(cell); got != want {
				t.Fatalf("%s: got %q, want %q in %q", f, got, want, b)
			}
			if strings.ContainsAny(first(cell), "=+-@\t\r\n＝＋－＠") {
				t.Fatalf("a spreadsheet would run the cell %q", cell)
			}
		}
	})
}

func first(s string) string {
	_, n := utf8.DecodeRuneInString(s)
	return s[:n]
}

func TestUnguardUndoesGuard(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := text().Draw(t, "cell")
		if got := export.Unguard(export.Guard(s)); got != s {
			t.Fatalf("got %q, want %q", got, s)
		}
	})
}

func TestEveryAccountComesBackFromNDJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := full()
		a.Profile.Nickname, a.Profile.SelfSignature = text().Draw(t, "nickname"), text().Draw(t, "signature")
		a.Profile.Level = domain.Number{Value: rapid.Uint32().Draw(t, "level"), Set: rapid.Bool().Draw(t, "set")}
		a.CreatedAt = time.Unix(0, rapid.Int64Range(0, 1<<61).Draw(t, "created"))
		b := encode(t, export.NDJSON, allFields, a)
		if bytes.Count(b, []byte("\n")) != 1 || b[len(b)-1] != '\n' {
			t.Fatalf("not one line: %q", b)
		}
		var got map[string]any
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.UseNumber()
		if err := dec.Decode(&got); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		for _, f := range allFields {
			if want := plain(a, f); got[f.String()] != want {
				t.Fatalf("%s: got %#v, want %#v", f, got[f.String()], want)
			}
		}
	})
}

// plain returns a value as encoding/json reads it.
func plain(a domain.Account, f domain.Field) any {
	v := a.Value(f)
	switch {
	case !v.Set:
		return nil
	case f.Kind() == domain.KindNumber:
		return json.Number(strconv.FormatUint(v.Number, 10))
	case f.Kind() == domain.KindTime:
		return v.Time.UTC().Format(time.RFC3339Nano)
	}
	return v.Text
}

func BenchmarkEncode(b *testing.B) {
	a := full()
	for _, format := range export.Formats() {
		for _, compression := range export.Compressions() {
			if format == export.XLSX && compression != export.NoCompression {
				continue
			}
			b.Run(string(format)+"/"+string(compression), func(b *testing.B) {
				enc, err := export.NewEncoder(io.Discard, format, compression, allFields)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				for b.Loop() {
					if err := enc.Append(&a); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			})
		}
	}
}
