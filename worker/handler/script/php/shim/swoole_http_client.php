<?php
namespace Swoole\Coroutine\Http;

use Pushd\Fibers;
use Pushd\Timers;

/** Client asks HTTP servers; in a coroutine others run meanwhile. One connection for each request. */
class Client
{
    const TIMEOUT = 30.0;   // seconds, unless set(['timeout' => …]) says how many
    const MOST = 33554432;  // bytes of an answer
    const HEAD = 65536;     // bytes of its headers

    public $errCode = 0, $errMsg = '', $connected = false, $host, $port, $ssl, $setting = [];
    public $requestMethod, $requestHeaders = [], $requestBody, $cookies = [];
    /** -1: nobody was there, -2: it took too long, -3: the connection broke off. */
    public $statusCode = 0;
    public $headers, $set_cookie_headers, $body = '';

    private $stream, $until;

    public function __construct($host, $port = 0, $ssl = false)
    {
        $this->host = (string)$host;
        $this->ssl = (bool)$ssl;
        $this->port = (int)$port ?: ($ssl ? 443 : 80);
    }

    public function set(array $settings)
    {
        $this->setting = $settings + $this->setting;
        return true;
    }

    public function setMethod($method)
    {
        $this->requestMethod = \strtoupper($method);
        return true;
    }

    public function setHeaders(array $headers)
    {
        $this->requestHeaders = $headers;
        return true;
    }

    public function setCookies(array $cookies)
    {
        $this->cookies = $cookies;
        return true;
    }

    public function setBasicAuth($name, $password)
    {
        $this->requestHeaders['Authorization'] = 'Basic ' . \base64_encode("$name:$password");
    }

    public function setData($data)
    {
        $this->requestBody = $data;
        return true;
    }

    public function get($path)
    {
        $this->requestMethod = 'GET';
        $this->requestBody = null;
        return $this->execute($path);
    }

    public function post($path, $data)
    {
        $this->requestMethod = 'POST';
        $this->requestBody = $data;
        return $this->execute($path);
    }

    /** Whether there was an answer; what it says is in statusCode, headers and body. */
    public function execute($path)
    {
        $this->errCode = $this->statusCode = 0;
        $this->errMsg = $this->body = '';
        $this->headers = $this->set_cookie_headers = null;
        $timeout = (float)($this->setting['timeout'] ?? 0);
        $this->until = Timers::now() + ($timeout > 0 ? $timeout : self::TIMEOUT);
        $done = $this->open() && $this->write($this->request($path)) && $this->read();
        $this->close();
        return $done;
    }

    public function close()
    {
        $had = $this->stream !== null;
        if ($had) {
            \fclose($this->stream);
        }
        $this->stream = null;
        $this->connected = false;
        return $had;
    }

    public function getBody()
    {
        return $this->body;
    }

    public function getStatusCode()
    {
        return $this->statusCode;
    }

    public function getHeaders()
    {
        return $this->headers;
    }

    public function getCookies()
    {
        return $this->cookies;
    }

    private function fails(int $status, string $why): bool
    {
        $this->statusCode = $status;
        $this->errCode = [-1 => 111, -2 => 110, -3 => 104][$status]; // as Linux numbers them
        $this->errMsg = $why;
        return false;
    }

    /** Waits for the stream, and says so where it takes too long. */
    private function ready(bool $write): bool
    {
        return Fibers::ready($this->stream, $write, $this->until) || $this->fails(-2, 'Connection timed out');
    }

    private function open(): bool
    {
        $verify = (bool)($this->setting['ssl_verify_peer'] ?? true);
        $context = \stream_context_create(['ssl' => \array_filter([
            'peer_name' => $this->setting['ssl_host_name'] ?? $this->host, 'cafile' => $this->setting['ssl_cafile'] ?? null,
            'local_cert' => $this->setting['ssl_cert_file'] ?? null, 'local_pk' => $this->setting['ssl_key_file'] ?? null,
        ]) + ['verify_peer' => $verify, 'verify_peer_name' => $verify, 'allow_self_signed' => (bool)($this->setting['ssl_allow_self_signed'] ?? false)]]);
        $host = \strpos($this->host, ':') === false ? $this->host : "[$this->host]";
        $stream = @\stream_socket_client("tcp://$host:$this->port", $code, $why, \max(0.0, $this->until - Timers::now()), \STREAM_CLIENT_CONNECT | \STREAM_CLIENT_ASYNC_CONNECT, $context);
        if (!$stream) {
            return $this->fails(-1, (string)$why);
        }
        $this->stream = $stream;
        \stream_set_blocking($stream, false);
        if (!$this->ready(true)) {
            return false;
        }
        if (\stream_socket_get_name($stream, true) === false) {
            return $this->fails(-1, 'Connection refused');
        }
        while ($this->ssl && ($done = @\stream_socket_enable_crypto($stream, true, \STREAM_CRYPTO_METHOD_TLS_CLIENT)) !== true) {
            if ($done === false) {
                return $this->fails(-1, 'TLS: ' . (\error_get_last()['message'] ?? 'the handshake failed'));
            }
            if (!$this->ready(false)) {
                return false;
            }
        }
        return $this->connected = true;
    }

    private function request(string $path): string
    {
        $headers = ['Host' => $this->host . (\in_array($this->port, [80, 443], true) ? '' : ":$this->port"), 'Accept' => '*/*', 'Connection' => 'close'];
        $data = $this->requestBody;
        if (\is_array($data)) {
            $data = \http_build_query($data);
            $headers['Content-Type'] = 'application/x-www-form-urlencoded';
        }
        if ($data !== null) {
            $headers['Content-Length'] = \strlen((string)$data);
        }
        $cookies = [];
        foreach ($this->cookies as $name => $value) {
            $cookies[] = "$name=" . \rawurlencode((string)$value);
        }
        if ($cookies) {
            $headers['Cookie'] = \implode('; ', $cookies);
        }
        $names = \array_change_key_case($this->requestHeaders);
        unset($names['connection'], $names['content-length']);
        foreach (\array_change_key_case($headers) as $name => $value) {
            $names[$name] = $names[$name] ?? $value;
        }
        $text = '';
        foreach ($names as $name => $value) {
            $text .= \str_replace(["\r", "\n"], '', \ucwords($name, '-') . ": $value") . "\r\n";
        }
        $method = $this->requestMethod ?: ($data === null ? 'GET' : 'POST');
        return "$method " . \str_replace(["\r", "\n", ' '], '', $path === '' ? '/' : $path) . " HTTP/1.1\r\n$text\r\n$data";
    }

    private function write(string $data): bool
    {
        while ($data !== '') {
            $n = @\fwrite($this->stream, $data);
            if ($n === false) {
                return $this->fails(-3, 'Connection reset by peer');
            }
            $data = (string)\substr($data, $n);
            if ($data !== '' && !$this->ready(true)) {
                return false;
            }
        }
        return true;
    }

    /** The answer, until its length, its last chunk or the end of the connection. */
    private function read(): bool
    {
        $rest = ''; // not looked at yet
        $left = null; // bytes of the body; null: until the end
        $chunked = false;
        for (;;) {
            $piece = (string)@\fread($this->stream, 65536);
            $rest .= $piece;
            while ($this->headers === null && ($end = \strpos($rest, "\r\n\r\n")) !== false) {
                if (!$this->head(\substr($rest, 0, $end))) {
                    return $this->fails(-3, 'what came is no HTTP');
                }
                $rest = (string)\substr($rest, $end + 4);
                if ($this->statusCode < 200) {
                    $this->headers = null; // the answer follows
                    continue;
                }
                $none = $this->requestMethod === 'HEAD' || \in_array($this->statusCode, [204, 304], true);
                $chunked = !$none && \stripos($this->headers['transfer-encoding'] ?? '', 'chunked') !== false;
                $left = $none ? 0 : (isset($this->headers['content-length']) ? (int)$this->headers['content-length'] : null);
            }
            if (\strlen($rest) > ($this->headers === null ? self::HEAD : self::MOST - \strlen($this->body))) {
                return $this->fails(-3, 'the answer is too long: at most 32 MiB, and 64 KiB of headers');
            }
            if ($this->headers !== null && ($chunked ? $this->chunks($rest) : $left !== null && \strlen($rest) >= $left)) {
                $this->body = $chunked ? $this->body : (string)\substr($rest, 0, $left);
                return true;
            }
            if ($piece !== '') {
                continue;
            }
            if (\feof($this->stream)) {
                $this->body = $rest;
                return $this->headers !== null && $left === null && !$chunked || $this->fails(-3, 'the connection ended before the answer did');
            }
            if (!$this->ready(false)) {
                return false;
            }
        }
    }

    /** Takes the chunks that are there; whether the last one was among them. */
    private function chunks(string &$rest): bool
    {
        $at = 0;
        while (($end = \strpos($rest, "\r\n", $at)) !== false) {
            $n = (int)@\hexdec(\explode(';', \substr($rest, $at, $end - $at))[0]);
            if ($n === 0) {
                return true; // what may follow are headers
            }
            if (\strlen($rest) < $end + 4 + $n) {
                break;
            }
            $this->body .= \substr($rest, $end + 2, $n);
            $at = $end + 4 + $n;
        }
        $rest = $at > 0 ? (string)\substr($rest, $at) : $rest;
        return false;
    }

    private function head(string $text): bool
    {
        $lines = \explode("\r\n", $text);
        if (!\preg_match('~^HTTP/1\.[01] (\d{3})\b~', $lines[0], $m)) {
            return false;
        }
        $this->statusCode = (int)$m[1];
        $this->headers = [];
        foreach (\array_slice($lines, 1) as $line) {
            [$name, $value] = \explode(':', $line, 2) + [1 => ''];
            $name = \strtolower(\trim($name));
            $this->headers[$name] = \trim($value);
            if ($name === 'set-cookie') {
                $this->set_cookie_headers[] = \trim($value);
                [$key, $v] = \explode('=', \explode(';', \trim($value))[0], 2) + [1 => ''];
                $this->cookies[$key] = \rawurldecode($v);
            }
        }
        return true;
    }
}
