import java.io.*;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import javax.net.ssl.*;

/** Says the lines of its input over TLS, one after the other, and prints what comes back. */
class Lines {
    public static void main(String[] args) throws Exception {
        String[] at = args[0].split(":");
        KeyStore trusted = KeyStore.getInstance(KeyStore.getDefaultType());
        trusted.load(null, null);
        try (InputStream pem = Files.newInputStream(Path.of("ca.pem"))) {
            trusted.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(pem));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(trusted);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);

        Socket raw = new Socket(at[0], Integer.parseInt(at[1]));
        SSLSocket tls = (SSLSocket) context.getSocketFactory().createSocket(raw, "push.example.com", raw.getPort(), true);
        tls.setEnabledProtocols(new String[] {args[1]});
        SSLParameters p = tls.getSSLParameters();
        p.setEndpointIdentificationAlgorithm("HTTPS");
        tls.setSSLParameters(p);

        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        BufferedReader back = new BufferedReader(new InputStreamReader(tls.getInputStream(), StandardCharsets.UTF_8));
        OutputStream out = tls.getOutputStream();
        for (String line; (line = in.readLine()) != null; ) {
            out.write((line + "\n").getBytes(StandardCharsets.UTF_8));
            out.flush();
            System.out.println(back.readLine());
        }
        tls.shutdownOutput(); // close_notify, which is answered
        System.out.println(back.readLine() == null ? "clean end in " + tls.getSession().getProtocol() : "more came");
    }
}
