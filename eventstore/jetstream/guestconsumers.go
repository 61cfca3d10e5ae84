package jetstream

// Where guests ask of their consumers of the log, and what the server that has the log calls it. What a guest publishes on a subject of the
// server is led straight there where the log is in this process. A door leads it through the cluster on the subjects of its own, since
// servers let nothing on $JS.API through between them; deployments/nats leads those on to the log, from an account of the doors. Either way
// messages come back by the import of an account, and so nowhere but into the account of the guest, whatever subject it wants them on.
const (
	consumerInfo = "$JS.API.CONSUMER.INFO." + DefaultStream + "."
	consumerNext = "$JS.API.CONSUMER.MSG.NEXT." + DefaultStream + "."
	consumerAck  = "$JS.ACK." + DefaultStream + "."
	ackTokens    = ".*.*.*.*.*" // behind the name of the consumer: deliveries, sequences, time, pending

	doorInfo = "accounts.consumer.info."
	doorNext = "accounts.consumer.next."
	doorAck  = "accounts.consumer.ack."
)

// consumerRequests are what a guest publishes to read by a pull consumer of the log: what the client
// libraries of NATS do with one that is there, and nothing that makes, changes or removes one.
func consumerRequests(name string, throughDoor bool) []Request {
	info, next, ack := consumerInfo, consumerNext, consumerAck
	if throughDoor {
		info, next, ack = doorInfo, doorNext, doorAck
	}
	return []Request{
		{From: consumerInfo + name, To: info + name},
		{From: consumerNext + name, To: next + name, Many: true},
		{From: consumerAck + name + ackTokens, To: ack + name + ackTokens},
	}
}
