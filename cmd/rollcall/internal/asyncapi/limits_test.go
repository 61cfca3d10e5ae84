package asyncapi_test

import (
	"encoding/json"
	"go/constant"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"rollcall/domain"
	"rollcall/handlers/command"
	"rollcall/handlers/export"
)

// number returns the value of an integer constant.
func number(t testing.TB, pkg, name string) int64 {
	t.Helper()
	for _, c := range constants(t, pkg, "") {
		if c.name == name {
			if n, exact := constant.Int64Val(constant.ToInt(c.value)); exact {
				return n
			}
		}
	}
	t.Fatalf("package %s has no number %s", pkg, name)
	return 0
}

// limitNames are the keywords by which the document sets a limit.
var limitNames = []string{"x-max-bytes", "x-max-header-bytes", "maxLength", "maxItems", "maximum"}

func TestLimitsAreThoseOfTheCode(t *testing.T) {
	d := load(t)
	const maxUint32, lastStatus = 1<<32 - 1, 599
	body, exportBody := number(t, "handlers/messaging", "maxCommandBody"), number(t, "handlers/messaging", "maxExportBody")
	headers, reference := number(t, "handlers/messaging", "commandHeaderRoom"), number(t, "handlers/messaging", "maxReferenceBytes")
	lastDay := int64(9999_12_31)
	want := map[string]int64{ // by the last steps of the path
		"AppID": domain.MaxAppIDBytes, "UserID": domain.MaxUserIDBytes, "UserIDs": domain.MaxSelectedIDs,
		"CommandID": command.MaxCommandIDBytes, "Reference": reference, "Text": domain.MaxTextBytes, "URL": domain.MaxTextBytes,
		"Location": domain.MaxLocationBytes, "Birthday": lastDay, "Number": maxUint32, "Fields": int64(len(domain.AllFields.Names())),
		"Deletion/properties/user_ids": command.MaxDeletions, "Outcome/properties/results": command.MaxDeletions,
		"deletions/payload/properties/results": command.MaxDeletions, "ExportOrder/properties/filter/properties/q": domain.MaxSearchTextBytes,
		"AppData/properties/name": domain.MaxAppNameBytes, "AppData/properties/max_admins": domain.HighestMaxAdmins,
		"adminLimitSet/payload/allOf/1/properties/data/properties/limit": domain.HighestMaxAdmins, "Problem/properties/status": lastStatus,
	}
	for name, c := range d.object(t, "components", "messages") {
		if _, ok := c.(map[string]any)["x-max-bytes"]; ok {
			want[name] = body
		}
	}
	want["export"], want["exportEvent"] = exportBody, exportBody
	seen := make(map[string]bool)
	walk(d.tree["components"], "", func(path string, v any) {
		object, _ := v.(map[string]any)
		for _, keyword := range limitNames {
			limit, ok := object[keyword].(json.Number)
			if !ok {
				continue
			}
			at := strings.TrimPrefix(strings.TrimPrefix(path, "/schemas/"), "/messages/")
			inCode, known := want[at]
			if keyword == "x-max-header-bytes" {
				inCode = headers
			}
			seen[at] = true
			if got, err := limit.Int64(); err != nil || !known || got != inCode {
				t.Errorf("%s of %s is %s, in the code %d", keyword, at, limit, inCode)
			}
		}
	})
	for at := range want {
		if !seen[at] {
			t.Errorf("the document sets no limit at %s", at)
		}
	}
}

// notOfMessages are limits that no message can meet.
var notOfMessages = []string{"MaxStretch", "MaxListLimit", "DefaultListLimit", "DefaultMaxAdmins"}

func TestNoLimitOfTheCodeIsForgotten(t *testing.T) {
	known := map[string][]string{
		"domain":           {"MaxAppIDBytes", "MaxUserIDBytes", "MaxSelectedIDs", "MaxTextBytes", "MaxLocationBytes", "MaxSearchTextBytes", "MaxAppNameBytes", "HighestMaxAdmins"},
		"handlers/command": {"MaxCommandIDBytes", "MaxDeletions"},
		"handlers/export":  {"MaxRequestIDBytes"},
	}
	for pkg, names := range known {
		for _, c := range constants(t, pkg, "") {
			exported := strings.HasPrefix(c.name, "Max") || strings.HasPrefix(c.name, "Highest")
			if exported && !slices.Contains(names, c.name) && !slices.Contains(notOfMessages, c.name) {
				t.Errorf("limit %s of package %s is new: put it into the document and into TestLimitsAreThoseOfTheCode", c.name, pkg)
			}
		}
	}
	if export.MaxRequestIDBytes != command.MaxCommandIDBytes {
		t.Error("the ids of exports and of other commands have different limits, the document has one")
	}
}

func TestHeadersAreThoseOfTheCode(t *testing.T) {
	d := load(t)
	documented := make(map[string]bool)
	for name, m := range d.object(t, "components", "messages") {
		if _, ok := m.(map[string]any)["headers"]; ok {
			headersIn(t, d, d.at(t, "components", "messages", name, "headers"), documented)
		}
	}
	// Those of the server and its libraries have no constants in Rollcall.
	inCode := append(values(constants(t, "handlers/messaging", ""), "header"), jetstream.MsgIDHeader, jetstream.ExpectedStreamHeader,
		jetstream.SequenceHeader, micro.ErrorHeader, micro.ErrorCodeHeader, "Status", "Description")
	same(t, "header", slices.Sorted(maps.Keys(documented)), inCode)
	ofCommands := []string{jetstream.MsgIDHeader, jetstream.ExpectedStreamHeader}
	for _, name := range values(constants(t, "handlers/messaging", ""), "header") {
		if !strings.HasPrefix(name, "Rollcall-") { // which the service itself gives
			ofCommands = append(ofCommands, name)
		}
	}
	clear(documented)
	headersIn(t, d, d.at(t, "components", "schemas", "EditHeaders"), documented)
	same(t, "header of commands", slices.Sorted(maps.Keys(documented)), ofCommands)
}

// headersIn collects the headers that a schema names.
func headersIn(t testing.TB, d *document, schema any, into map[string]bool) {
	t.Helper()
	object, _ := d.follow(t, schema).(map[string]any)
	below, _ := object["properties"].(map[string]any)
	for name := range below {
		into[name] = true
	}
	parts, _ := object["allOf"].([]any)
	for _, part := range parts {
		headersIn(t, d, part, into)
	}
}
