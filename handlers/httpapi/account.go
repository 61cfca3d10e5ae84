package httpapi

import (
	"net/url"
	"strconv"

	"rollcall/domain"
)

// etag is the entity tag of a revision.
func etag(revision uint64) string { return `"` + strconv.FormatUint(revision, 10) + `"` }

// accountPath is where an account is found.
func accountPath(app domain.AppID, id domain.UserID) string {
	return "/v1/apps/" + string(app) + "/accounts/" + pathSegment(string(id))
}

// pathSegment escapes an id so that nobody takes it for a step in the path.
func pathSegment(id string) string {
	switch id {
	case ".":
		return "%2E"
	case "..":
		return "%2E%2E"
	}
	return url.PathEscape(id)
}
