import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.AlgorithmConstraints;
import java.security.AlgorithmParameters;
import java.security.CryptoPrimitive;
import java.security.Key;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.SSLSocket;

/**
 * TLS servers of one process, each with sessions and ticket keys of its own. Commands come in lines, each is answered with one:
 * {@code open ADDRESS PORT PROTOCOL TICKETS RETRY DIRECTORY} and {@code close ADDRESS}. The end of input is the end.
 */
public class TlsServers {
    public static void main(String[] arguments) throws Exception {
        Map<String, SSLServerSocket> servers = new HashMap<>();
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            String[] words = line.split(" ", 7);
            if (words[0].equals("open")) {
                SSLServerSocket server = open(words);
                servers.put(words[1], server);
                start(() -> serve(server));
            } else {
                servers.remove(words[1]).close();
            }
            System.out.println("done");
        }
        System.exit(0);
    }

    private static SSLServerSocket open(String[] words) throws Exception {
        // Read when the context is made.
        System.setProperty("jdk.tls.server.enableSessionTicketExtension", words[4]);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys(Path.of(words[6])).getKeyManagers(), null, null);
        SSLServerSocket server = (SSLServerSocket) context.getServerSocketFactory()
            .createServerSocket(Integer.parseInt(words[2]), 100, InetAddress.getByName(words[1]));
        SSLParameters parameters = server.getSSLParameters();
        parameters.setProtocols(new String[] {words[3]});
        if (words[5].equals("true")) {
            parameters.setAlgorithmConstraints(new NoX25519());
        }
        server.setSSLParameters(parameters);
        return server;
    }

    private static KeyManagerFactory keys(Path directory) throws Exception {
        Certificate certificate;
        try (var file = Files.newInputStream(directory.resolve("cert.pem"))) {
            certificate = CertificateFactory.getInstance("X.509").generateCertificate(file);
        }
        String pem = Files.readString(directory.resolve("key.pem")).replaceAll("-----[^-]*-----", "");
        Key key = KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(Base64.getMimeDecoder().decode(pem)));
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        store.setKeyEntry("server", key, new char[0], new Certificate[] {certificate});
        KeyManagerFactory factory = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        factory.init(store, new char[0]);
        return factory;
    }

    private static void serve(SSLServerSocket server) {
        while (!server.isClosed()) {
            try {
                SSLSocket client = (SSLSocket) server.accept();
                start(() -> answer(client));
            } catch (Exception closed) {
                // It is closed, or one client was too early gone.
            }
        }
    }

    private static void answer(SSLSocket client) {
        try (client) {
            client.setTcpNoDelay(true);
            if (client.getInputStream().read(new byte[1024]) > 0) {
                client.getOutputStream().write("HTTP/1.0 200 OK\r\n\r\nhello".getBytes(StandardCharsets.US_ASCII));
            }
        } catch (Exception gone) {
            // One that only looked whether somebody listens.
        }
    }

    private static void start(Runnable work) {
        Thread thread = new Thread(work);
        thread.setDaemon(true);
        thread.start();
    }

    /** Who comes with a key of X25519, as all do, is asked for another hello. */
    private static class NoX25519 implements AlgorithmConstraints {
        @Override
        public boolean permits(Set<CryptoPrimitive> primitives, String algorithm, AlgorithmParameters parameters) {
            return !algorithm.equals("x25519");
        }

        @Override
        public boolean permits(Set<CryptoPrimitive> primitives, Key key) {
            return true;
        }

        @Override
        public boolean permits(Set<CryptoPrimitive> primitives, String algorithm, Key key, AlgorithmParameters parameters) {
            return true;
        }
    }
}
