import java.net.HttpURLConnection;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;

/** A program as anybody writes it, with no word about proxies: GET of a URL, or POST of a file to it. */
public class Fetch {
    public static void main(String[] args) throws Exception {
        var connection = (HttpURLConnection) URI.create(args[0]).toURL().openConnection();
        if (args.length > 1) {
            connection.setRequestMethod("POST");
            connection.setDoOutput(true);
            connection.setFixedLengthStreamingMode(Files.size(Path.of(args[1])));
            try (var body = connection.getOutputStream()) {
                Files.copy(Path.of(args[1]), body);
            }
        }
        try (var answer = connection.getInputStream()) {
            answer.transferTo(System.out);
        }
        System.out.flush();
    }
}
