import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Path;

/** A program as anybody writes it, with java.net.http: GET of a URL, twice by one client, or POST of a file to it. */
public class Client {
    public static void main(String[] args) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(args[0]));
        if (args.length > 1) {
            request.POST(HttpRequest.BodyPublishers.ofFile(Path.of(args[1])));
        }
        var client = HttpClient.newHttpClient();
        client.send(request.build(), BodyHandlers.discarding());
        System.out.print(client.send(request.build(), BodyHandlers.ofString()).body());
        System.out.flush();
    }
}
