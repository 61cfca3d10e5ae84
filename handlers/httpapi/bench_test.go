package httpapi_test

import (
	"bytes"
	"fmt"
	"testing"
)

// BenchmarkCreate measures what the API itself costs a create: no network, no log.
func BenchmarkCreate(b *testing.B) {
	h := light(b)
	body := []byte(`{"user_id":"somebody-12345","type":"normal","nickname":"홍길동","face_url":"https://example.com/a.png","gender":"female","birthday":20000229}`)
	b.ReportAllocs()
	for b.Loop() {
		if rec := serve(h, "POST", accounts, "application/json", body); rec.Code != 201 {
			b.Fatal(rec.Body)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
}

// BenchmarkImport measures what the API itself costs a row of an import.
func BenchmarkImport(b *testing.B) {
	const rows = 10_000
	var body bytes.Buffer
	for i := range rows {
		fmt.Fprintf(&body, "{\"user_id\":\"user-%d\",\"type\":\"normal\",\"nickname\":\"홍길동\",\"face_url\":\"https://example.com/a.png\"}\n", i)
	}
	h := light(b)
	b.ReportAllocs()
	for b.Loop() {
		if rec := serve(h, "POST", accounts+":import", ndjson, body.Bytes()); rec.Code != 200 {
			b.Fatal(rec.Body)
		}
	}
	b.ReportMetric(float64(b.N)*rows/b.Elapsed().Seconds(), "rows/s")
}
