// Serves gRPC: an echo and health, with reflection. Plain at 127.0.0.1:50051, by TLS at 127.0.0.1:50052.
//
// Arguments: files of a certificate and its key.
package main

import (
	"context"
	"log"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Written by hand, since protoc is no Go module: echo.Echo has one method, Say, from a string to the same.
const (
	file    = "echo.proto"
	message = ".google.protobuf.StringValue"
)

func describe() error {
	described, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String(file), Package: proto.String("echo"), Syntax: proto.String("proto3"),
		Dependency: []string{"google/protobuf/wrappers.proto"},
		Service: []*descriptorpb.ServiceDescriptorProto{{
			Name: proto.String("Echo"),
			Method: []*descriptorpb.MethodDescriptorProto{{
				Name: proto.String("Say"), InputType: proto.String(message), OutputType: proto.String(message),
			}},
		}},
	}, protoregistry.GlobalFiles)
	if err != nil {
		return err
	}
	return protoregistry.GlobalFiles.RegisterFile(described)
}

func say(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	said := &wrapperspb.StringValue{}
	return said, decode(said)
}

func serve(address string, options ...grpc.ServerOption) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := grpc.NewServer(options...)
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "echo.Echo", HandlerType: (*any)(nil), Metadata: file,
		Methods: []grpc.MethodDesc{{MethodName: "Say", Handler: say}},
	}, nil)
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	reflection.Register(server)
	return server.Serve(listener)
}

func main() {
	by, err := credentials.NewServerTLSFromFile(os.Args[1], os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	if err := describe(); err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(serve("127.0.0.1:50052", grpc.Creds(by))) }()
	log.Fatal(serve("127.0.0.1:50051"))
}
