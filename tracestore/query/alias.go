package query

// renamed lists attribute names that OpenTelemetry's semantic conventions have
// replaced, old name first: the attribute registry's "deprecated" notes up to
// version 1.37 (opentelemetry.io/docs/specs/semconv/registry/attributes). A
// column asked for by either name is found under both; the name asked for wins
// where a row has both. One new name may stand for several old ones, which do
// not stand for each other.
var renamed = [][2]string{
	{"http.method", "http.request.method"},
	{"http.status_code", "http.response.status_code"},
	{"http.url", "url.full"},
	{"http.target", "url.path"},
	{"http.scheme", "url.scheme"},
	{"http.host", "server.address"},
	{"http.server_name", "server.address"},
	{"http.client_ip", "client.address"},
	{"http.user_agent", "user_agent.original"},
	{"http.flavor", "network.protocol.version"},
	{"http.request_content_length", "http.request.body.size"},
	{"http.response_content_length", "http.response.body.size"},
	{"http.resend_count", "http.request.resend_count"},

	{"net.peer.name", "server.address"},
	{"net.host.name", "server.address"},
	{"net.peer.port", "server.port"},
	{"net.host.port", "server.port"},
	{"net.peer.ip", "network.peer.address"},
	{"net.sock.peer.addr", "network.peer.address"},
	{"net.sock.peer.port", "network.peer.port"},
	{"net.host.ip", "network.local.address"},
	{"net.sock.host.addr", "network.local.address"},
	{"net.sock.host.port", "network.local.port"},
	{"net.protocol.name", "network.protocol.name"},
	{"net.protocol.version", "network.protocol.version"},

	{"db.system", "db.system.name"},
	{"db.statement", "db.query.text"},
	{"db.operation", "db.operation.name"},
	{"db.name", "db.namespace"},
	{"db.redis.database_index", "db.namespace"},
	{"db.sql.table", "db.collection.name"},
	{"db.mongodb.collection", "db.collection.name"},
	{"db.cassandra.table", "db.collection.name"},
	{"db.cosmosdb.container", "db.collection.name"},

	{"messaging.destination", "messaging.destination.name"},
	{"messaging.operation", "messaging.operation.type"},
	{"messaging.message_id", "messaging.message.id"},
	{"messaging.conversation_id", "messaging.message.conversation_id"},
	{"messaging.message_payload_size_bytes", "messaging.message.body.size"},
	{"messaging.message.payload_size_bytes", "messaging.message.body.size"},
	{"messaging.client_id", "messaging.client.id"},
	{"messaging.kafka.client_id", "messaging.client.id"},
	{"messaging.kafka.consumer_group", "messaging.consumer.group.name"},
	{"messaging.kafka.consumer.group", "messaging.consumer.group.name"},
	{"messaging.rocketmq.client_group", "messaging.consumer.group.name"},
	{"messaging.kafka.partition", "messaging.destination.partition.id"},
	{"messaging.kafka.destination.partition", "messaging.destination.partition.id"},
	{"messaging.kafka.message_key", "messaging.kafka.message.key"},
	{"messaging.kafka.message.offset", "messaging.kafka.offset"},
	{"messaging.kafka.tombstone", "messaging.kafka.message.tombstone"},
	{"messaging.rabbitmq.routing_key", "messaging.rabbitmq.destination.routing_key"},

	{"rpc.system", "rpc.system.name"},
	{"rpc.grpc.status_code", "rpc.response.status_code"},
	{"peer.service", "service.peer.name"},
	{"code.function", "code.function.name"},
	{"code.filepath", "code.file.path"},
	{"code.lineno", "code.line.number"},
	{"code.column", "code.column.number"},
	{"enduser.id", "user.id"},
	{"faas.execution", "faas.invocation_id"},
	{"faas.id", "cloud.resource_id"},
	{"deployment.environment", "deployment.environment.name"},
}

// aliases maps a name to the other names its values may be found under.
var aliases = func() map[string][]string {
	m := make(map[string][]string, 2*len(renamed))
	for _, p := range renamed {
		m[p[0]] = append(m[p[0]], p[1])
		m[p[1]] = append(m[p[1]], p[0])
	}
	return m
}()
