package messaging

import (
	"rollcall/handlers/access"
	"rollcall/handlers/intake"
)

// Rights are what somebody may do on NATS. The zero value is nothing.
type Rights struct {
	// Requests lead from the subjects that they publish on to those where the service listens.
	Requests []Lead
	// Hears are the subjects of streams that they subscribe to. What they hear is what has been stored, which the server tells on
	// the same subject below eventstore.StoredPrefix.
	Hears []string
	// Consumers are the names of the consumers of the log that they may read by, see LogConsumers.
	Consumers []string
}

// Lead leads from a subject that others publish on to one inside, the same when To is empty. Both have the same wildcards.
type Lead struct {
	From, To string
	Many     bool // whether there may be several answers
}

// RightsOf returns what a principal may do on NATS. It is the table of roles and actions of package access, said in
// subjects:
//
//	write_accounts   publish accounts.cmd.<app>.create, .edit, .delete and accounts.rpc.<app>.create, .edit, .delete
//	read_accounts    request accounts.rpc.<app>.get
//	export           publish accounts.cmd.<app>.export; hear accounts.export.<app>.>
//	read_outcomes    hear accounts.outcome.<app>.>, and ask their stream for that of a command
//	audit            hear accounts.evt.<app>.> and accounts.checkpoint; request accounts.rpc.<app>.consume, and read by the consumers that it makes
//	manage_dead      hear accounts.dead.<app>
//	operate          all of it in all applications; see the services on $SRV.>
func RightsOf(p access.Principal) Rights {
	app, below, dead := p.App, p.App+".>", p.App
	if p.May(access.Operate, "") {
		app, below, dead = "*", ">", ">"
	}
	may := func(a access.Action) bool { return p.May(a, p.App) }
	if app == "" {
		return Rights{}
	}
	var r Rights
	command := func(v intake.Verb) {
		r.Requests = append(r.Requests, Lead{From: commandPrefix + app + "." + string(v), To: ingressPrefix + app + "." + string(v)})
	}
	rpc := func(verb string) { r.Requests = append(r.Requests, Lead{From: rpcPrefix + app + "." + verb}) }
	if may(access.WriteAccounts) {
		for _, v := range []intake.Verb{intake.Create, intake.Edit, intake.Delete} {
			command(v)
			rpc(string(v))
		}
	}
	if may(access.ReadAccounts) {
		rpc(verbGet)
	}
	if may(access.Export) {
		command(intake.Export)
		r.Hears = append(r.Hears, exportPrefix+below)
	}
	if may(access.ReadOutcomes) {
		r.Hears = append(r.Hears, outcomePrefix+below)
		r.Requests = append(r.Requests, Lead{From: "$JS.API.DIRECT.GET." + StreamOutcomes + "." + outcomePrefix + app + ".*"})
	}
	if may(access.Audit) {
		r.Hears = append(r.Hears, eventPrefix+below, checkpointSubject)
		rpc(verbConsume)
		r.Consumers = consumersOf(p.TokenID)
	}
	if may(access.ManageDead) {
		r.Hears = append(r.Hears, deadPrefix+dead)
	}
	if p.May(access.Operate, "") {
		r.Requests = append(r.Requests, Lead{From: "$SRV.>", Many: true})
	}
	return r
}
