package agentusage

import (
	"bytes"
	"context"
	"encoding/hex"
	"strconv"

	logs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	traces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	log "go.opentelemetry.io/proto/otlp/logs/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// spanRecords gives an export's records in the normal form: what is queued holds no prompt and no body.
func spanRecords(export *traces.ExportTraceServiceRequest) [][]byte {
	var records [][]byte
	for _, group := range export.GetResourceSpans() {
		var resource attributes
		resource.proto(group.GetResource().GetAttributes(), true)
		for _, scope := range group.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				a := resource
				a.proto(span.GetAttributes(), false)
				u := a.usage("otlp_span", span.GetStatus().GetCode() == trace.Status_STATUS_CODE_ERROR, span.GetEndTimeUnixNano() > 0)
				u.at = stamp(span.GetStartTimeUnixNano())
				traceID := hexed(span.GetTraceId())
				u.traced(traceID)
				if u.id = spanID(traceID, hexed(span.GetSpanId()), &u); a.tells() && !u.at.IsZero() {
					records = append(records, u.marshal())
				}
			}
		}
	}
	return records
}

func logRecords(export *logs.ExportLogsServiceRequest) [][]byte {
	var records [][]byte
	for _, group := range export.GetResourceLogs() {
		var resource attributes
		resource.proto(group.GetResource().GetAttributes(), true)
		for _, scope := range group.GetScopeLogs() {
			for _, record := range scope.GetLogRecords() {
				if u, ok := protoLog(record, resource); ok {
					records = append(records, u.marshal())
				}
			}
		}
	}
	return records
}

func protoLog(record *log.LogRecord, a attributes) (usage, bool) {
	a.proto(record.GetAttributes(), false)
	u := a.usage("otlp_log", false, false)
	if u.at = stamp(record.GetTimeUnixNano()); u.at.IsZero() {
		u.at = stamp(record.GetObservedTimeUnixNano())
	}
	traceID := hexed(record.GetTraceId())
	u.traced(traceID)
	u.id = logID(traceID, hexed(record.GetSpanId()), []byte(record.GetEventName()), &u)
	return u, a.tells() && !u.at.IsZero()
}

// proto takes attributes that are texts or numbers.
func (a *attributes) proto(list []*common.KeyValue, ofResource bool) {
	for _, item := range list {
		switch value := item.GetValue().GetValue().(type) {
		case *common.AnyValue_StringValue:
			a.set(item.GetKey(), []byte(value.StringValue), ofResource)
		case *common.AnyValue_IntValue:
			a.set(item.GetKey(), strconv.AppendInt(nil, value.IntValue, 10), ofResource)
		}
	}
}

// hexed is an id as OTLP's JSON form writes it; nil for none, and for one of zeros, which is invalid.
func hexed(id []byte) []byte {
	if len(bytes.Trim(id, "\x00")) == 0 {
		return nil
	}
	return hex.AppendEncode(nil, id)
}

// grpcServer takes OTLP over gRPC.
func (r *receiver) grpcServer() *grpc.Server {
	opts := []grpc.ServerOption{grpc.MaxRecvMsgSize(r.cfg.MaxExportBytes), grpc.UnaryInterceptor(r.authorise)}
	if r.tls != nil {
		opts = append(opts, grpc.Creds(credentials.NewTLS(r.tls)))
	}
	server := grpc.NewServer(opts...)
	traces.RegisterTraceServiceServer(server, traceService{receiver: r})
	logs.RegisterLogsServiceServer(server, logService{receiver: r})
	return server
}

func (r *receiver) authorise(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	given := metadata.ValueFromIncomingContext(ctx, "authorization")
	if r.token != nil && (len(given) != 1 || !r.permitted(given[0])) {
		return nil, status.Error(codes.Unauthenticated, "give the collector's token as authorization: Bearer TOKEN")
	}
	return handle(ctx, request)
}

type traceService struct {
	traces.UnimplementedTraceServiceServer
	receiver *receiver
}

// Export implements the trace service.
func (s traceService) Export(ctx context.Context, export *traces.ExportTraceServiceRequest) (*traces.ExportTraceServiceResponse, error) {
	if err := s.receiver.publish(ctx, spanRecords(export)); err != nil {
		return nil, status.Error(codes.Unavailable, err.Error()) // which senders repeat
	}
	return &traces.ExportTraceServiceResponse{}, nil
}

type logService struct {
	logs.UnimplementedLogsServiceServer
	receiver *receiver
}

// Export implements the logs service.
func (s logService) Export(ctx context.Context, export *logs.ExportLogsServiceRequest) (*logs.ExportLogsServiceResponse, error) {
	if err := s.receiver.publish(ctx, logRecords(export)); err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	return &logs.ExportLogsServiceResponse{}, nil
}
