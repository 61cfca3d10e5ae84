package asyncapi_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"rollcall/domain"
	"rollcall/handlers/access"
	"rollcall/handlers/audit"
	"rollcall/handlers/export"
	"rollcall/handlers/intake"
	"rollcall/handlers/messaging"
	"rollcall/handlers/webhook"
	"rollcall/handlers/wire"
	"rollcall/projections/accountlist/asof"
)

// enum returns the values that a schema lists.
func enum(t testing.TB, d *document, path ...string) []string {
	t.Helper()
	return texts(t, d.object(t, append([]string{"components", "schemas"}, path...)...)["enum"])
}

// properties returns the members that an object may have.
func properties(t testing.TB, d *document, path ...string) []string {
	t.Helper()
	return slices.Sorted(maps.Keys(d.object(t, append([]string{"components", "schemas"}, append(path, "properties")...)...)))
}

// typesOn returns the types of the CloudEvents on the channels of a stream.
func typesOn(t testing.TB, d *document, stream string) (all []string) {
	t.Helper()
	for _, c := range d.channels(t) {
		if c.stream != stream {
			continue
		}
		for _, name := range c.messages {
			walk(d.object(t, "components", "messages", name), "", func(path string, v any) {
				if s, ok := v.(string); ok && strings.HasSuffix(path, "/properties/type/const") {
					all = append(all, s)
				}
			})
		}
	}
	return all
}

func TestVerbsAndTheirTypesAreThoseOfTheCode(t *testing.T) {
	d := load(t)
	inCode := values(constants(t, "handlers/intake", "Verb"), "")
	var verbs, typesInCode, published []string
	for _, v := range intake.Verbs() {
		verbs = append(verbs, string(v))
		typesInCode = append(typesInCode, messaging.CommandType(v))
	}
	same(t, "verb", verbs, inCode)
	for _, c := range d.channels(t) {
		if c.stream == messaging.StreamCommands {
			published = append(published, c.address[strings.LastIndex(c.address, ".")+1:])
		}
	}
	same(t, "verb of a channel", published, verbs)
	same(t, "verb of an outcome", enum(t, d, "Outcome", "properties", "verb"), verbs)
	same(t, "type of command", typesOn(t, d, messaging.StreamCommands), typesInCode)
}

func TestStatusesAndTypesOfOutcomesAreThoseOfTheCode(t *testing.T) {
	d := load(t)
	statuses := values(constants(t, "handlers/intake", "Status"), "")
	same(t, "status", enum(t, d, "Outcome", "properties", "status"), statuses)
	var inCode []string
	for _, s := range statuses {
		inCode = append(inCode, "command."+s+".v1")
	}
	same(t, "type of outcome", typesOn(t, d, messaging.StreamOutcomes), inCode)
}

func TestTypesOfEventsAreThoseOfTheCode(t *testing.T) {
	d := load(t)
	same(t, "type of event", typesOn(t, d, "ACCOUNTS"), values(constants(t, "eventstore/codec", ""), "Type"))
	states := values(constants(t, "handlers/export", "EventType"), "")
	same(t, "state of an export", texts(t, d.at(t, "channels", "exportEvents", "parameters", "state", "enum")), states)
	var inCode []string
	for _, s := range states {
		inCode = append(inCode, "export."+s+".v1")
	}
	same(t, "type of export event", typesOn(t, d, messaging.StreamExports), inCode)
}

func TestValuesAreThoseOfTheCode(t *testing.T) {
	d := load(t)
	for schema, pkg := range map[string]string{
		"AccountType": "domain", "Gender": "domain", "AllowType": "domain", "AdminForbidType": "domain",
		"Format": "handlers/export", "Compression": "handlers/export",
	} {
		same(t, schema, enum(t, d, schema), values(constants(t, pkg, schema), ""))
	}
	same(t, "field", enum(t, d, "Fields", "items"), domain.AllFields.Names())
}

func TestMembersAreThoseOfTheCode(t *testing.T) {
	d := load(t)
	for schema, in := range map[string][2]string{
		"Account": {"handlers/wire", "Account"}, "Outcome": {"handlers/wire", "Outcome"}, "OutcomeItem": {"handlers/wire", "OutcomeItem"},
		"Problem": {"handlers/wire", "Problem"}, "FieldError": {"handlers/wire", "FieldError"}, "OutcomeEvent": {"handlers/wire", "CloudEvent"},
		"LogEvent": {"eventstore", "cloudEvent"}, "ExportEvent": {"handlers/export", "cloudEvent"},
		"PubAck": {"handlers/messaging", "pubAck"}, "AppData": {"eventstore/codec", "appV1"}, "AdminSeat": {"eventstore/codec", "adminSeatV1"},
	} {
		names, always := members(t, in[0], in[1])
		same(t, "member of "+schema, properties(t, d, schema), names)
		required := texts(t, d.at(t, "components", "schemas", schema, "required"))
		for _, name := range always {
			if !slices.Contains(required, name) {
				t.Errorf("member %s of %s is always written, in the document it may be absent", name, schema)
			}
		}
	}
	profile := domain.ProfileFields.Names()
	same(t, "member of NewAccount", properties(t, d, "NewAccount"), append([]string{"user_id", "type"}, profile...))
	same(t, "member of AccountEdit", properties(t, d, "AccountEdit"), append([]string{"user_id"}, profile...))
	same(t, "member of Account", properties(t, d, "Account"), domain.AllFields.Names())
	ofAccounts, _ := members(t, "eventstore/codec", "accountV1")
	same(t, "member of the data of an account's events", dataMembers(t, d, "accountEvents"), ofAccounts)
	ofErasures, _ := members(t, "eventstore/codec", "erasedV1")
	same(t, "member of the data of an erasure", dataMembers(t, d, "erasureEvents"), ofErasures)
	ofExports, _ := members(t, "handlers/export", "eventData")
	same(t, "member of the data of an export's events", dataMembers(t, d, "exportEvents"), ofExports)
}

// dataMembers returns the members of the data of all messages of a channel.
func dataMembers(t testing.TB, d *document, name string) []string {
	t.Helper()
	all := make(map[string]bool)
	for _, m := range messageNames(t, d.object(t, "channels", name, "messages")) {
		parts := d.at(t, "components", "messages", m, "payload", "allOf").([]any)
		data := d.follow(t, parts[1].(map[string]any)["properties"].(map[string]any)["data"]).(map[string]any)
		for member := range data["properties"].(map[string]any) {
			all[member] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// overHTTPAlone are the codes that nobody meets over NATS.
var overHTTPAlone = []domain.Code{
	domain.CodeAppExists, domain.CodeAdminsOverLimit, access.CodeTokenNotFound, audit.CodeErased, audit.CodeNoEvent, export.CodeNotFound, export.CodeFinished,
	intake.CodeNoOutcome, intake.CodeNoDeadLetter, intake.CodeQueueFull, wire.CodeListNotFound, wire.CodeListInUse, wire.CodeListsUnsupported, wire.CodeMalformedQuery, wire.CodeMalformedHeader, wire.CodeMalformedRow,
	wire.CodeInvalidCursor, wire.CodeNotFound, wire.CodeMethod, wire.CodeTimeout, wire.CodeMediaType, wire.CodeClientGone, wire.CodeStopping,
	webhook.CodeNotFound, webhook.CodeDeliveryNotFound, webhook.CodeLimit, webhook.CodeDisabled,
	wire.CodeInvalidSignature, wire.CodeURLExpired, wire.CodeExportExpired, wire.CodeStoreUnavailable,
	asof.CodeTooLarge,
}

// codeLists are the schemas that list codes.
var codeLists = []string{"ProblemCode", "RejectionCode", "DeadCode", "FieldCode"}

func TestEveryCodeIsInTheDocumentUnlessItIsOverHTTPAlone(t *testing.T) {
	d := load(t)
	inCode := values(constants(t, "domain", "Code"), "")
	for _, below := range []string{"handlers/...", "cmd/...", "eventstore/...", "projections/..."} {
		inCode = append(inCode, values(constants(t, below, "Code"), "")...)
	}
	var documented []string
	for _, list := range codeLists {
		documented = append(documented, enum(t, d, list)...)
	}
	for _, code := range overHTTPAlone {
		if slices.Contains(documented, string(code)) {
			t.Errorf("code %s is over HTTP alone and in the document", code)
		}
		documented = append(documented, string(code))
	}
	same(t, "code", documented, inCode)
}

func TestCodesMeanWhatTheCodeSays(t *testing.T) {
	d := load(t)
	meanings := d.object(t, "components", "schemas", "ProblemCode", "x-codes")
	same(t, "meaning of code", slices.Sorted(maps.Keys(meanings)), enum(t, d, "ProblemCode"))
	codes := wire.NewCodes("Nats-Msg-Id")
	for code, v := range meanings {
		want := codes.MeaningOf(domain.Code(code))
		got := v.(map[string]any)
		if fmt.Sprint(got["status"]) != fmt.Sprint(want.Status) || got["title"] != want.Title {
			t.Errorf("code %s means %v, in the code %d %q", code, got, want.Status, want.Title)
		}
	}
}

func TestEveryRoleMayWhatTheDocumentSaysAndNothingElse(t *testing.T) {
	d := load(t)
	const app = "demo"
	led := make(map[string]bool) // subjects of rights that lead to a channel
	for _, role := range access.Roles() {
		who := access.Principal{TokenID: "id", Name: "name", Role: role, App: app}
		if role == access.Operator {
			who.App = ""
		}
		rights := messaging.RightsOf(who)
		subjects := slices.Clone(rights.Hears)
		for _, r := range rights.Requests {
			subjects = append(subjects, r.From)
		}
		for name := range d.object(t, "operations") {
			address := d.object(t, "operations", name, "channel")["address"].(string)
			concrete := channel{address: strings.ReplaceAll(address, "{app}", app)}.pattern()
			i := slices.IndexFunc(subjects, func(s string) bool { return covers(s, concrete) })
			if i >= 0 {
				led[subjects[i]] = true
			}
			documented := slices.Contains(texts(t, d.at(t, "operations", name, "x-roles")), string(role))
			if (i >= 0) != documented {
				t.Errorf("%s of role %s: in the document %t, in the code %t", name, role, documented, i >= 0)
			}
		}
		for _, s := range subjects {
			if !led[s] {
				t.Errorf("role %s may use %s, which no operation is on", role, s)
			}
		}
	}
}
