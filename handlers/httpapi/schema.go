package httpapi

import (
	"fmt"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"rollcall/domain"
	"rollcall/handlers/command"
)

// The schemas of request bodies are written here from the bounds of the domain
// and the use cases, which check them. Lengths stand in the descriptions: JSON Schema counts
// characters, the domain bytes.

// schemaOf returns a reference to the schema of a type.
func (h *Handler) schemaOf(v any) *huma.Schema {
	return h.api.OpenAPI().Components.Schemas.Schema(reflect.TypeOf(v), true, "")
}

// jsonBody describes a body that may be sent under the given types.
func (h *Handler) jsonBody(s *huma.Schema, types ...string) *huma.RequestBody {
	body := &huma.RequestBody{Required: true, Content: make(map[string]*huma.MediaType, len(types))}
	for _, t := range types {
		body.Content[t] = &huma.MediaType{Schema: s}
	}
	return body
}

func object(required []string, properties map[string]*huma.Schema) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, Properties: properties, Required: required, AdditionalProperties: false}
}

func stringSchema(format string, args ...any) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Description: fmt.Sprintf(format, args...)}
}

func enumSchema[T ~string](description string, values ...T) *huma.Schema {
	s := stringSchema("%s", description)
	for _, v := range values {
		s.Enum = append(s.Enum, v)
	}
	return s
}

// momentSchema is a position or a time.
func momentSchema(description string) *huma.Schema {
	least := 1.0
	return &huma.Schema{Description: description, OneOf: []*huma.Schema{
		{Type: huma.TypeInteger, Minimum: &least}, {Type: huma.TypeString, Format: "date-time"},
	}}
}

func numberSchema(description string, most float64) *huma.Schema {
	least := 0.0
	return &huma.Schema{Type: huma.TypeInteger, Description: description, Minimum: &least, Maximum: &most}
}

func listSchema(items *huma.Schema, most int, description string) *huma.Schema {
	least := 1
	return &huma.Schema{Type: huma.TypeArray, Items: items, MinItems: &least, MaxItems: &most, Description: description}
}

func userIDSchema() *huma.Schema {
	return stringSchema("1 to %d bytes of printable ASCII without space, case-sensitive, not starting with @RBT# or @TOA#", domain.MaxUserIDBytes)
}

// accountSchema describes a new account or, of an edit, what may be edited. In
// an edit each field may be null, which unsets it.
func accountSchema(isNew bool) *huma.Schema {
	const maxUint32 = 1<<32 - 1
	text := fmt.Sprintf("at most %d bytes of UTF-8", domain.MaxTextBytes)
	properties := map[string]*huma.Schema{
		"nickname":          stringSchema("%s", text),
		"face_url":          stringSchema("Picture: an absolute http or https URL, %s", text),
		"gender":            enumSchema("", domain.GenderUnknown, domain.GenderFemale, domain.GenderMale),
		"birthday":          numberSchema("A real date written YYYYMMDD", 9999_12_31),
		"location":          stringSchema("at most %d bytes of UTF-8", domain.MaxLocationBytes),
		"self_signature":    stringSchema("%s", text),
		"allow_type":        enumSchema("How friend requests are verified", domain.AllowNeedConfirm, domain.AllowAny, domain.AllowDenyAny),
		"language":          numberSchema("", maxUint32),
		"msg_settings":      numberSchema("Bit 0: do not receive", maxUint32),
		"admin_forbid_type": enumSchema("Whether an administrator has forbidden adding friends", domain.ForbidNone, domain.ForbidSendOut),
		"level":             numberSchema("", maxUint32),
		"role":              numberSchema("", maxUint32),
	}
	for _, s := range properties {
		s.Nullable = true
		if s.Enum != nil {
			s.Enum = append(s.Enum, nil)
		}
	}
	if !isNew {
		return object(nil, properties)
	}
	properties["user_id"] = userIDSchema()
	properties["type"] = enumSchema("Never changes, normal unless given", domain.TypeNormal, domain.TypeAdmin)
	return object([]string{"user_id"}, properties)
}

// appSchema describes what an application is created with or edited to.
func appSchema(required ...string) *huma.Schema {
	properties := map[string]*huma.Schema{
		"name":       stringSchema("For people, at most %d bytes of UTF-8", domain.MaxAppNameBytes),
		"max_admins": numberSchema(fmt.Sprintf("How many accounts of type admin it may have, %d unless given", domain.DefaultMaxAdmins), domain.HighestMaxAdmins),
	}
	for _, name := range required {
		properties[name] = stringSchema("1 to %d of a-z, 0-9 and -, not starting with -", domain.MaxAppIDBytes)
	}
	return object(required, properties)
}

func deletionSchema() *huma.Schema {
	return object([]string{"user_ids"}, map[string]*huma.Schema{
		"user_ids": listSchema(userIDSchema(), command.MaxDeletions, "The accounts, each once"),
	})
}
