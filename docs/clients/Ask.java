// Asks a question about a document: java Ask HOST:PORT CA.PEM TOKEN-FILE DOCUMENT QUESTION
//
// Classes made from protos/guardedvlm/v1/guard.proto by protoc with --java_out and --grpc-java_out.

import com.google.protobuf.ByteString;
import guardedvlm.v1.Guard;
import guardedvlm.v1.GuardServiceGrpc;
import io.grpc.Grpc;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.stub.MetadataUtils;
import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.UUID;
import java.util.concurrent.TimeUnit;

public final class Ask {
    public static void main(String[] args) throws Exception {
        ManagedChannel channel = Grpc.newChannelBuilder(
                        args[0],
                        TlsChannelCredentials.newBuilder().trustManager(new File(args[1])).build())
                .build();
        Metadata headers = new Metadata();
        headers.put(
                Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER),
                "Bearer " + Files.readString(Path.of(args[2])).strip());
        GuardServiceGrpc.GuardServiceBlockingStub guard = GuardServiceGrpc.newBlockingStub(channel)
                .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(headers))
                .withDeadlineAfter(120, TimeUnit.SECONDS);
        Guard.AnalyzeImageRequest request = Guard.AnalyzeImageRequest.newBuilder()
                .setRequestId(UUID.randomUUID().toString()) // the same one when the call is made again
                .setDocument(Guard.Document.newBuilder()
                        .setContent(ByteString.copyFrom(Files.readAllBytes(Path.of(args[3])))))
                .setQuery(Guard.Query.newBuilder().setQuestion(args[4]))
                .build();
        try {
            System.out.println(guard.analyzeImage(request).getAnalysis().getAnswer());
        } catch (StatusRuntimeException refused) {
            // "RESIDUAL_FOUND: verification found ..."; the reason alone stands in ErrorInfo, in grpc-status-details-bin.
            System.err.println(refused.getStatus().getCode() + " " + refused.getStatus().getDescription());
            System.exit(1);
        } finally {
            channel.shutdownNow();
        }
    }
}
