package httpapi_test

import (
	"strings"
	"testing"

	"rollcall/handlers/access"
	"rollcall/handlers/httpapi"
)

const webhooks = "/v1/apps/demo/webhooks"

// hook registers a webhook.
func (r *rig) hook(t testing.TB, body string) httpapi.WebhookWithSecret {
	t.Helper()
	a := r.call(t, request{method: "POST", path: webhooks, body: body, token: r.token(t, access.Exporter, "demo")}).status(t, 201)
	var w httpapi.WebhookWithSecret
	a.json(t, &w)
	if a.Header.Get("Location") != webhooks+"/"+w.ID || !strings.HasPrefix(w.Secret, "whsec_") {
		t.Errorf("location %s, secret %s", a.Header.Get("Location"), w.Secret)
	}
	return w
}

func TestAWebhookIsRegisteredShownAndDeleted(t *testing.T) {
	r := newRig(t)
	w := r.hook(t, `{"url":"https://example.com/hooks"}`)
	if strings.Join([]string{w.URL, string(w.App), w.CreatedBy[:5]}, " ") != "https://example.com/hooks demo test/" || len(w.Events) != 5 || w.DisabledAt != nil {
		t.Errorf("registered %+v", w)
	}
	other := r.hook(t, `{"url":"https://example.com/other","events":["started"]}`)
	shown := r.call(t, request{method: "GET", path: webhooks + "/" + w.ID}).status(t, 200)
	listed := r.call(t, request{method: "GET", path: webhooks}).status(t, 200)
	for _, a := range []answer{shown, listed} {
		if body := string(a.body); strings.Contains(body, "secret") || !strings.Contains(body, w.ID) {
			t.Errorf("answered %s", body)
		}
	}
	var list httpapi.WebhookList
	if listed.json(t, &list); len(list.Webhooks) != 2 || list.Webhooks[1].ID != other.ID || list.Webhooks[1].Events[0] != "started" {
		t.Errorf("listed %+v", list)
	}
	var rotated httpapi.WebhookWithSecret
	r.call(t, request{method: "POST", path: webhooks + "/" + w.ID + "/rotate"}).status(t, 200).json(t, &rotated)
	if rotated.ID != w.ID || rotated.Secret == w.Secret || !strings.HasPrefix(rotated.Secret, "whsec_") {
		t.Errorf("rotated %+v", rotated)
	}
	r.call(t, request{method: "DELETE", path: webhooks + "/" + w.ID}).status(t, 204)
	r.call(t, request{method: "DELETE", path: webhooks + "/" + w.ID}).problem(t, 404, "webhook_not_found")
	r.call(t, request{method: "GET", path: webhooks + "/" + w.ID + "/deliveries"}).problem(t, 404, "webhook_not_found")
}

func TestADeliveryIsListedAndSentAgain(t *testing.T) {
	r := newRig(t)
	w := r.hook(t, `{"url":"https://example.com/hooks"}`)
	var d, again httpapi.WebhookDelivery
	r.call(t, request{method: "POST", path: webhooks + "/" + w.ID + "/test"}).status(t, 202).json(t, &d)
	if d.Event != "test" || d.Status != "pending" || d.NextAttempt == nil {
		t.Errorf("the test is %+v", d)
	}
	r.call(t, request{method: "POST", path: webhooks + "/" + w.ID + "/test"}).status(t, 202)
	var page httpapi.WebhookDeliveryList
	r.call(t, request{method: "GET", path: webhooks + "/" + w.ID + "/deliveries?limit=1"}).status(t, 200).json(t, &page)
	if len(page.Deliveries) != 1 || page.NextCursor == "" {
		t.Fatalf("the first page is %+v", page)
	}
	r.call(t, request{method: "GET", path: webhooks + "/" + w.ID + "/deliveries?cursor=" + page.NextCursor}).status(t, 200).json(t, &page)
	if len(page.Deliveries) != 1 || page.Deliveries[0].ID != d.ID {
		t.Errorf("the second page is %+v", page)
	}
	r.call(t, request{method: "POST", path: webhooks + "/" + w.ID + "/deliveries/" + d.ID + "/retry"}).status(t, 202).json(t, &again)
	if again.ID != d.ID || again.Status != "pending" {
		t.Errorf("the retry is %+v", again)
	}
	r.call(t, request{method: "POST", path: webhooks + "/" + w.ID + "/deliveries/" + w.ID + "/retry"}).problem(t, 404, "delivery_not_found")
}

func TestAWrongWebhookIsRefusedByTheNameOfTheField(t *testing.T) {
	r := newRig(t)
	for _, m := range []malformed{
		{request{method: "POST", path: webhooks, body: `{}`}, 422, "validation_failed", "url"},
		{request{method: "POST", path: webhooks, body: `{"url":7}`}, 422, "validation_failed", "url"},
		{request{method: "POST", path: webhooks, body: `{"url":"http://example.com"}`}, 422, "validation_failed", "url"},
		{request{method: "POST", path: webhooks, body: `{"url":"https://127.0.0.1/"}`}, 422, "validation_failed", "url"},
		{request{method: "POST", path: webhooks, body: `{"url":"https://example.com","events":["what"]}`}, 422, "validation_failed", "events[0]"},
		{request{method: "POST", path: webhooks, body: `{"url":"https://example.com","secret":"mine"}`}, 422, "validation_failed", "secret"},
		{request{method: "POST", path: webhooks, body: `{"url":"https://example.com"}`, header: map[string]string{"Idempotency-Key": "k"}}, 422, "validation_failed", "Idempotency-Key"},
		{request{method: "POST", path: "/v1/apps/none/webhooks", body: `{"url":"https://example.com"}`}, 404, "app_not_found", ""},
		{request{method: "GET", path: "/v1/apps/none/webhooks"}, 404, "app_not_found", ""},
		{request{method: "GET", path: webhooks + "/%2F"}, 404, "webhook_not_found", ""},
		{request{method: "GET", path: webhooks + "/none/deliveries?limit=0"}, 422, "validation_failed", "limit"},
	} {
		p := r.call(t, m.request).problem(t, m.status, m.code)
		if m.field != "" && (len(p.Errors) != 1 || p.Errors[0].Field != m.field) {
			t.Errorf("%s %s %s names %+v, want %s", m.method, m.path, m.body, p.Errors, m.field)
		}
	}
	w := r.hook(t, `{"url":"https://example.com/hooks"}`)
	if p := r.call(t, request{method: "GET", path: webhooks + "/" + w.ID + "/deliveries?cursor=what"}).problem(t, 400, "invalid_cursor"); len(p.Errors) != 1 || p.Errors[0].Field != "cursor" {
		t.Errorf("a wrong cursor names %+v", p.Errors)
	}
}
