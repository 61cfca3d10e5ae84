package export_test

import (
	"testing"

	"rollcall/handlers/export"
)

func TestOnlyNamesThatExportsGiveAreKnown(t *testing.T) {
	for name, want := range map[string]bool{
		"accounts-shop-42.csv": true, "accounts-shop-42-57.ndjson.gz": true, "accounts-shop-42.parquet": true, "accounts-shop-42.xlsx": true,
		"accounts-shop-42.csv.zst.manifest.json": true, "part-000001-42-57": true, "part-2-000001-42-57": true, "part-3-000001-42-57": true,

		"": false, "db.dump": false, "accounts-other-42.csv": false, "accounts-shop-42": false, "accounts-shop-42.exe": false, "accounts-shop-.csv": false,
		"accounts-shop-1-2-3.csv": false, "accounts-shop-x.csv": false, "accounts-shop-42.xlsx.gz": false, "accounts-shop.csv": false,
		"part-": false, "part-42": false, "part-1-2-3-4-5": false, "part-a-000001-42-57": false, "part-2-000001-42-57.bak": false, "part-2--42-57": false,
	} {
		if got := (export.FileName{App: "shop", Job: "01ARZ3NDEKTSV4RRFFQ69G5FAV", Name: name}).Known(); got != want {
			t.Errorf("%q is known: %t", name, got)
		}
	}
}
