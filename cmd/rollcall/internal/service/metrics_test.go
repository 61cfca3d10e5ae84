package service_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"rollcall/cmd/rollcall/internal/service"
	"rollcall/eventstore/storetest"
)

func TestWhatComesInByEachDoorIsCounted(t *testing.T) {
	t.Parallel()
	s := used(t)
	defer stop(t, s)
	f := read(t, s)
	for _, c := range []struct {
		want   float64
		name   string
		labels string
	}{
		{1, "rollcall_commands_total", "door=http verb=create_app outcome=accepted"},
		{1, "rollcall_commands_total", "door=http verb=create outcome=accepted"},
		{1, "rollcall_commands_total", "door=http verb=create outcome=account_exists"},
		{0, "rollcall_commands_total", "door=http verb=create outcome=failed"},
		{1, "rollcall_commands_total", "door=message verb=create outcome=accepted"},
		{1, "rollcall_commands_total", "door=message verb=edit outcome=account_not_found"},
		{1, "rollcall_commands_total", "door=nats verb=create outcome=accepted"},
		{1, "rollcall_commands_total", "door=nats verb=delete outcome=account_not_found"},
		{3, "rollcall_command_duration_seconds", "verb=create outcome=accepted"},
		{1, "rollcall_nats_request_duration_seconds", "verb=get code=ok"},
		{1, "rollcall_nats_request_duration_seconds", "verb=delete code=account_not_found"},
		{3, "rollcall_ingress_commands_total", "result=accepted"},
		{1, "rollcall_ingress_commands_total", "result=duplicate"},
		{1, "rollcall_ingress_commands_total", "result=malformed"},
		{2, "rollcall_message_duration_seconds", ""},
		{1, "rollcall_dead_commands_total", "code=malformed_body"},
		{1, "rollcall_stream_messages", "stream=DEAD"},
		{5, "rollcall_append_duration_seconds", "outcome=ok"},
		{6, "rollcall_commit_events", ""},
		{7, "rollcall_log_position", ""},
		{7, "rollcall_projection_position", "projection=account_list"},
		{0, "rollcall_projection_lag_events", "projection=account_list"},
		{0, "rollcall_projection_lag_seconds", "projection=account_list"},
		{0, "rollcall_projection_halted", "projection=account_list"},
		{1, "rollcall_projection_leading", "projection=erasure"},
		{1, "rollcall_erased_accounts_total", ""},
		{1, "rollcall_lease_held", "lease=commands"},
		{1, "rollcall_lease_held", "lease=ledger"},
		{1, "rollcall_export_jobs", "status=completed format=csv"},
		{2, "rollcall_export_rows_total", "format=csv"},
		{0, "rollcall_exports_running", ""},
		{1, "rollcall_nats_clients", ""},
		{1, "rollcall_ready", ""},
		{1, "rollcall_log_reachable", ""},
		{1, "rollcall_http_requests_in_flight", ""}, // the one that reads
		{1, "rollcall_build_info", "version=v1.2.3"},
	} {
		labels := strings.FieldsFunc(c.labels, func(r rune) bool { return r == ' ' || r == '=' })
		if got := value(t, f, c.name, labels...); got != c.want {
			t.Errorf("%s{%s} is %v, want %v", c.name, c.labels, got, c.want)
		}
	}
	for _, name := range []string{"rollcall_export_bytes_total", "rollcall_stream_oldest_age_seconds", "rollcall_projection_batch_events"} {
		if !slices.ContainsFunc(f[name].GetMetric(), func(m *dto.Metric) bool {
			return m.GetCounter().GetValue()+m.GetGauge().GetValue() > 0 || m.GetHistogram().GetSampleCount() > 0
		}) {
			t.Errorf("%s tells nothing", name)
		}
	}
}

func TestNoLabelNamesAnApplicationOrAnAccount(t *testing.T) {
	t.Parallel()
	s := used(t)
	defer stop(t, s)
	for name, family := range read(t, s) {
		for _, m := range family.Metric {
			for _, l := range m.Label {
				if slices.Contains([]string{"demo", "ann", "bob", "eve", "nobody"}, l.GetValue()) {
					t.Errorf("%s has the label %s=%q", name, l.GetName(), l.GetValue())
				}
			}
		}
	}
}

// onOneServer is a service whose log is on a server that the test can write to as well.
func onOneServer(t *testing.T) (cfg service.Config, url string) {
	cfg, url = config(t.TempDir()), storetest.RunServer(t)
	cfg.NATS.URLs, cfg.Replicas = []string{url}, 1
	cfg.Exports, cfg.MasterKey = "file://"+t.TempDir(), strings.Repeat("1f", 32)
	return cfg, url
}

func TestAHaltedProjectionTellsHowManyEventsAndHowOldTheyAre(t *testing.T) {
	t.Parallel()
	cfg, url := onOneServer(t)
	s := start(t, cfg)
	defer stop(t, s)
	write(t, s, "demo")
	nc := storetest.Connect(t, url)
	for range 3 {
		if _, err := nc.Request("accounts.evt.demo.u.x", []byte("no event"), patience); err != nil {
			t.Fatal(err)
		}
	}
	var before float64
	storetest.Eventually(t, "the list has halted three events before the end", func() bool {
		f := read(t, s)
		before = value(t, f, "rollcall_projection_lag_seconds", "projection", "account_list")
		return value(t, f, "rollcall_projection_halted", "projection", "account_list") == 1 &&
			value(t, f, "rollcall_projection_leading", "projection", "account_list") == 0 &&
			value(t, f, "rollcall_projection_lag_events", "projection", "account_list") == 3 && before > 0
	})
	storetest.Eventually(t, "the oldest event grows older", func() bool {
		f := read(t, s)
		return value(t, f, "rollcall_projection_lag_seconds", "projection", "account_list") > before && value(t, f, "rollcall_ready") == 0
	})
	if n := value(t, read(t, s), "rollcall_projection_position", "projection", "account_list"); n != 2 {
		t.Errorf("the list is at position %v, want 2", n)
	}
}

func TestOneInstanceHoldsTheLeasesAndTheOtherTakesThemOver(t *testing.T) {
	t.Parallel()
	cfg, _ := onOneServer(t)
	first := start(t, cfg)
	cfg.Data = t.TempDir()
	second := start(t, cfg)
	defer stop(t, second)
	held := func(s *service.Service) float64 {
		f := read(t, s)
		return value(t, f, "rollcall_lease_held", "lease", "commands") + value(t, f, "rollcall_lease_held", "lease", "erasure") +
			value(t, f, "rollcall_projection_leading", "projection", "erasure")
	}
	storetest.Eventually(t, "the first leads", func() bool { return held(first) == 3 && held(second) == 0 })
	stop(t, first)
	storetest.Eventually(t, "the second leads", func() bool { return held(second) == 3 })
}

func TestWhileTheLogDoesNotAnswerTheMetricsDoAndSaySo(t *testing.T) {
	t.Parallel()
	cfg, url := onOneServer(t)
	proxy := storetest.RunProxy(t, url)
	cfg.NATS.URLs = []string{proxy.URL()}
	s := start(t, cfg)
	defer stop(t, s)
	defer proxy.Cut()
	write(t, s, "demo")
	proxy.Mute()
	const bound = 10 * time.Second // within which Prometheus wants an answer
	storetest.Eventually(t, "the metrics say that the log does not answer", func() bool {
		began := time.Now()
		f := read(t, s)
		if took := time.Since(began); took > bound {
			t.Errorf("the metrics took %s", took)
		}
		if value(t, f, "rollcall_log_reachable") != 0 {
			return false
		}
		for name, want := range map[string]float64{"rollcall_ready": 0, "rollcall_log_position": -1, "rollcall_projection_position": 2, "rollcall_stream_messages": -1} {
			if got := value(t, f, name); got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
		return true
	})
	proxy.Cut()
	storetest.Eventually(t, "the log answers again", func() bool { return value(t, read(t, s), "rollcall_log_reachable") == 1 })
}
