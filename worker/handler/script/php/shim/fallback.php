<?php
// What a program uses of Workerman's protocols where it brings no Workerman
// along. Each class is only made when no loader of the program has it, so the
// conditions below ask them.

namespace Workerman\Protocols {

    if (!\Pushd\Names::theirs('Workerman\Protocols\ProtocolInterface')) {
        /** Its methods are input, decode and encode; their signatures were others in Workerman 3, 4 and 5. */
        interface ProtocolInterface
        {
        }
    }

    if (!\Pushd\Names::theirs('Workerman\Protocols\Text')) {
        class Text
        {
            public static function input($buffer, $connection)
            {
                if (isset($connection->maxPackageSize) && \strlen($buffer) >= $connection->maxPackageSize) {
                    return -1;
                }
                $at = \strpos($buffer, "\n");
                return $at === false ? 0 : $at + 1;
            }

            public static function encode($data)
            {
                return $data . "\n";
            }

            public static function decode($buffer)
            {
                return \rtrim($buffer, "\r\n");
            }
        }
    }

    if (!\Pushd\Names::theirs('Workerman\Protocols\Frame')) {
        class Frame
        {
            public static function input($buffer, $connection = null)
            {
                return \strlen($buffer) < 4 ? 0 : (\unpack('N', $buffer)[1] >= 4 ? \unpack('N', $buffer)[1] : -1);
            }

            public static function encode($data)
            {
                return \pack('N', 4 + \strlen($data)) . $data;
            }

            public static function decode($buffer)
            {
                return \substr($buffer, 4);
            }
        }
    }

    if (!\Pushd\Names::theirs('Workerman\Protocols\Http')) {
        class Http
        {
            const MAX_HEAD = 16384;

            private static $class = Http\Request::class, $uploadTmpDir = '';

            public static function requestClass($class = null)
            {
                return $class !== null ? self::$class = $class : self::$class;
            }

            /** Where files of forms are put until they are moved. */
            public static function uploadTmpDir($dir = null)
            {
                if ($dir !== null) {
                    self::$uploadTmpDir = (string)$dir;
                }
                return self::$uploadTmpDir !== '' ? self::$uploadTmpDir : ((string)\ini_get('upload_tmp_dir') ?: \sys_get_temp_dir());
            }

            public static function enableCache($value)
            {
            }

            public static function input($buffer, $connection)
            {
                $end = \strpos($buffer, "\r\n\r\n");
                if ($end === false ? \strlen($buffer) >= self::MAX_HEAD : $end >= self::MAX_HEAD) {
                    return self::refuse($connection, '431 Request Header Fields Too Large');
                }
                if ($end === false) {
                    return 0;
                }
                $most = $connection->maxPackageSize;
                $length = self::length($buffer, $end + 4, self::headers(\substr($buffer, 0, $end)), $most);
                if ($length < 0) {
                    return self::refuse($connection, '400 Bad Request');
                }
                return $length > $most ? self::refuse($connection, '413 Payload Too Large') : $length;
            }

            /** How long a request is whose body begins at $at; 0: wait, -1: it is none. */
            private static function length(string $buffer, int $at, ?array $headers, int $most): int
            {
                $says = $headers['content-length'] ?? null;
                if ($headers === null || $says !== null && (isset($says[1]) || \strspn($says[0], '0123456789') !== \strlen($says[0]) || $says[0] === '')) {
                    return -1;
                }
                if (!isset($headers['transfer-encoding'])) {
                    return $at + (int)($says[0] ?? 0);
                }
                if ($says !== null || isset($headers['transfer-encoding'][1]) || \strtolower($headers['transfer-encoding'][0]) !== 'chunked') {
                    return -1;
                }
                require_once __DIR__ . '/chunked.php';
                return \Pushd\Chunked::length($buffer, $at, $most);
            }

            /** Name in lower case => values; null: that is not the head of a request. */
            private static function headers(string $head): ?array
            {
                $lines = \explode("\r\n", $head);
                if (!\preg_match('~^(?:GET|POST|OPTIONS|HEAD|DELETE|PUT|PATCH) /[^\x00-\x20\x7f]* HTTP/1\.([0-9])$~D', \array_shift($lines), $version)) {
                    return null;
                }
                $headers = [];
                foreach ($lines as $line) {
                    if (!\preg_match('/^([a-zA-Z0-9!#$%&\'*+\-.^_`|~]+):[ \t]*(.*?)[ \t]*$/Ds', $line, $m)) {
                        return null;
                    }
                    $headers[\strtolower($m[1])][] = $m[2];
                }
                $host = $headers['host'] ?? [];
                if (isset($host[1]) || !$host && $version[1] > 0 || $host && !\preg_match('~^(?:\[[^\]]+\]|[^\s:/\[\]]+)(?::[0-9]+)?$~D', $host[0])) {
                    return null;
                }
                return $headers;
            }

            private static function refuse($connection, string $status): int
            {
                $connection->close("HTTP/1.1 $status\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", true);
                return 0;
            }

            public static function decode($buffer, $connection)
            {
                $trailers = [];
                $head = (string)\strstr($buffer, "\r\n\r\n", true);
                if (\preg_match('/\r\nTransfer-Encoding:/i', $head)) {
                    [$buffer, $trailers] = \Pushd\Chunked::whole($head, $buffer);
                }
                $request = new self::$class($buffer);
                if ($trailers) {
                    $request->chunkTrailers = $trailers;
                }
                $request->connection = $connection;
                return $request;
            }

            public static function encode($response, $connection)
            {
                if (!\is_object($response)) {
                    $response = new Http\Response(200, [], \Pushd\text($response));
                } elseif (!$response instanceof Http\Response) {
                    return (string)$response; // a chunk, an event
                }
                $response->withHeaders((array)$connection->headers);
                $connection->headers = []; // they were of this answer
                if ($response->file !== null) {
                    require_once __DIR__ . '/file_answer.php';
                    return \Pushd\FileAnswer::encode($response, $connection);
                }
                return (string)$response;
            }
        }
    }
}

namespace Workerman\Protocols\Http {

    if (!\Pushd\Names::theirs('Workerman\Protocols\Http\Request')) {
        #[\AllowDynamicProperties]
        class Request
        {
            const MAX_CACHE_STRING_LENGTH = 4096, MAX_CACHE_SIZE = 256;

            public static $maxFileUploads = 1024;
            public $connection;
            /** @internal what came behind a body in chunks: name => value */
            public $chunkTrailers = [];

            private $buffer, $headers, $get, $post, $files, $cookies, $paths = [];

            public function __construct($buffer)
            {
                $this->buffer = $buffer;
            }

            private static function pick(array $all, $name, $default)
            {
                return $name === null ? $all : $all[$name] ?? $default;
            }

            private function line(int $i): string
            {
                return \explode(' ', (string)\strstr($this->buffer, "\r\n", true), 3)[$i] ?? '';
            }

            public function method()
            {
                return $this->line(0);
            }

            public function uri()
            {
                return $this->line(1);
            }

            public function path()
            {
                return (string)\parse_url('http://x' . $this->uri(), \PHP_URL_PATH);
            }

            public function queryString()
            {
                return (string)\parse_url('http://x' . $this->uri(), \PHP_URL_QUERY);
            }

            public function protocolVersion()
            {
                return \substr($this->line(2), 5);
            }

            public function header($name = null, $default = null)
            {
                if ($this->headers === null) {
                    $this->headers = [];
                    foreach (\array_slice(\explode("\r\n", $this->rawHead()), 1) as $line) {
                        [$key, $value] = \explode(':', $line, 2) + [1 => ''];
                        if ($key !== '') {
                            $key = \strtolower($key);
                            $this->headers[$key] = isset($this->headers[$key]) ? $this->headers[$key] . ',' . \trim($value) : \trim($value);
                        }
                    }
                }
                return self::pick($this->headers, $name === null ? null : \strtolower($name), $default);
            }

            public function trailer($name = null, $default = null)
            {
                return self::pick($this->chunkTrailers, $name === null ? null : \strtolower($name), $default);
            }

            public function host($withoutPort = false)
            {
                $host = (string)$this->header('host');
                return $withoutPort ? \preg_replace('/:\d+$/', '', $host) : $host;
            }

            public function get($name = null, $default = null)
            {
                if ($this->get === null) {
                    \parse_str($this->queryString(), $this->get);
                }
                return self::pick($this->get, $name, $default);
            }

            public function post($name = null, $default = null)
            {
                if ($this->post === null) {
                    $this->parsePost();
                }
                return self::pick($this->post, $name, $default);
            }

            public function cookie($name = null, $default = null)
            {
                if ($this->cookies === null) {
                    $this->cookies = [];
                    foreach (\explode(';', (string)$this->header('cookie')) as $pair) {
                        [$key, $value] = \explode('=', $pair, 2) + [1 => ''];
                        if (\trim($key) !== '') {
                            $this->cookies[\trim($key)] = \urldecode(\trim($value));
                        }
                    }
                }
                return self::pick($this->cookies, $name, $default);
            }

            /** Fields and files of the body. */
            private function parsePost(): void
            {
                $this->post = $this->files = [];
                $type = (string)$this->header('content-type');
                if (\stripos($type, 'multipart/') === 0) {
                    require_once __DIR__ . '/uploads.php';
                    [$this->post, $this->files, $this->paths] = \Pushd\Uploads::whole($type, $this->rawBody(), \Workerman\Protocols\Http::uploadTmpDir());
                } elseif (\stripos($type, 'json') !== false) {
                    $this->post = (array)\json_decode($this->rawBody(), true);
                } else {
                    \parse_str($this->rawBody(), $this->post);
                }
            }

            public function file($name = null)
            {
                if ($this->files === null) {
                    $this->parsePost();
                }
                return self::pick($this->files, $name, null);
            }

            public function __destruct()
            {
                if ($this->paths) {
                    \Pushd\Uploads::drop($this->paths);
                }
            }

            public function rawHead()
            {
                $head = \strstr($this->buffer, "\r\n\r\n", true);
                return $head === false ? $this->buffer : $head;
            }

            public function rawBody()
            {
                return (string)\substr((string)\strstr($this->buffer, "\r\n\r\n"), 4);
            }

            public function rawBuffer()
            {
                return $this->buffer;
            }

            public function getRemoteIp()
            {
                return $this->connection ? $this->connection->getRemoteIp() : '';
            }

            /** What the program has not set. */
            public function __get($name)
            {
                return null;
            }

            public static function enableCache($value)
            {
            }

            public function __toString()
            {
                return $this->buffer;
            }
        }
    }

    if (!\Pushd\Names::theirs('Workerman\Protocols\Http\Response')) {
        class Response
        {
            const PHRASES = [
                100 => 'Continue', 101 => 'Switching Protocols', 102 => 'Processing', 103 => 'Early Hints', 200 => 'OK', 201 => 'Created', 202 => 'Accepted',
                203 => 'Non-Authoritative Information', 204 => 'No Content', 205 => 'Reset Content', 206 => 'Partial Content', 207 => 'Multi-Status',
                208 => 'Already Reported', 226 => 'IM Used', 300 => 'Multiple Choices', 301 => 'Moved Permanently', 302 => 'Found', 303 => 'See Other',
                304 => 'Not Modified', 305 => 'Use Proxy', 306 => 'Switch Proxy', 307 => 'Temporary Redirect', 308 => 'Permanent Redirect',
                400 => 'Bad Request', 401 => 'Unauthorized', 402 => 'Payment Required', 403 => 'Forbidden', 404 => 'Not Found', 405 => 'Method Not Allowed',
                406 => 'Not Acceptable', 407 => 'Proxy Authentication Required', 408 => 'Request Timeout', 409 => 'Conflict', 410 => 'Gone',
                411 => 'Length Required', 412 => 'Precondition Failed', 413 => 'Payload Too Large', 414 => 'URI Too Long', 415 => 'Unsupported Media Type',
                416 => 'Range Not Satisfiable', 417 => 'Expectation Failed', 418 => 'I\'m a teapot', 421 => 'Misdirected Request',
                422 => 'Unprocessable Entity', 423 => 'Locked', 424 => 'Failed Dependency', 425 => 'Too Early', 426 => 'Upgrade Required',
                428 => 'Precondition Required', 429 => 'Too Many Requests', 431 => 'Request Header Fields Too Large', 451 => 'Unavailable For Legal Reasons',
                500 => 'Internal Server Error', 501 => 'Not Implemented', 502 => 'Bad Gateway', 503 => 'Service Unavailable', 504 => 'Gateway Timeout',
                505 => 'HTTP Version Not Supported', 506 => 'Variant Also Negotiates', 507 => 'Insufficient Storage', 508 => 'Loop Detected',
                510 => 'Not Extended', 511 => 'Network Authentication Required',
            ];

            const TYPES = ['html' => 'text/html;charset=utf-8', 'htm' => 'text/html;charset=utf-8', 'css' => 'text/css', 'js' => 'text/javascript', 'json' => 'application/json',
                'txt' => 'text/plain', 'svg' => 'image/svg+xml', 'png' => 'image/png', 'jpg' => 'image/jpeg', 'jpeg' => 'image/jpeg', 'gif' => 'image/gif',
                'webp' => 'image/webp', 'ico' => 'image/x-icon', 'pdf' => 'application/pdf', 'mp4' => 'video/mp4', 'wasm' => 'application/wasm'];

            /** What withFile() was given: file, offset, length. */
            public $file;

            private $status, $headers, $body, $reason, $version = '1.1';

            public function __construct($status = 200, $headers = [], $body = '')
            {
                $this->status = $status;
                $this->headers = $headers ?? [];
                $this->body = (string)$body;
            }

            public function header($name, $value)
            {
                $this->headers[$name] = $value;
                return $this;
            }

            public function withHeader($name, $value)
            {
                return $this->header($name, $value);
            }

            public function withHeaders($headers)
            {
                $this->headers = \array_merge_recursive($this->headers, $headers);
                return $this;
            }

            public function withoutHeader($name)
            {
                unset($this->headers[$name]);
                return $this;
            }

            public function getHeader($name)
            {
                return $this->headers[$name] ?? null;
            }

            public function getHeaders()
            {
                return $this->headers;
            }

            public function withStatus($code, $reason = null)
            {
                $this->status = $code;
                $this->reason = $reason;
                return $this;
            }

            /** The program's own; null is the usual one. */
            public function getReasonPhrase()
            {
                return $this->reason;
            }

            public function getStatusCode()
            {
                return $this->status;
            }

            public function withProtocolVersion($version)
            {
                $this->version = $version;
                return $this;
            }

            public function withBody($body)
            {
                $this->body = (string)$body;
                return $this;
            }

            public function rawBody()
            {
                return $this->body;
            }

            public function withFile($file, $offset = 0, $length = 0)
            {
                if (!\is_file($file)) {
                    return $this->withStatus(404)->withBody('<h3>404 Not Found</h3>');
                }
                $this->file = ['file' => $file, 'offset' => (int)$offset, 'length' => (int)$length];
                return $this;
            }

            public function cookie($name, $value = '', $maxAge = null, $path = '', $domain = '', $secure = false, $httpOnly = false, $sameSite = '')
            {
                $this->headers['Set-Cookie'][] = $name . '=' . \rawurlencode($value) . ($domain === '' ? '' : "; Domain=$domain")
                    . ($maxAge === null ? '' : "; Max-Age=$maxAge") . ($path === '' ? '' : "; Path=$path") . ($secure ? '; Secure' : '')
                    . ($httpOnly ? '; HttpOnly' : '') . ($sameSite === '' ? '' : "; SameSite=$sameSite");
                return $this;
            }

            private function head(): string
            {
                $reason = $this->reason ?? self::PHRASES[$this->status] ?? '';
                $head = "HTTP/$this->version $this->status $reason\r\n";
                foreach ($this->headers as $name => $values) {
                    foreach (\strpbrk((string)$name, ":\r\n") === false ? (array)$values : [] as $value) {
                        $head .= "$name: " . \str_replace(["\r", "\n"], '', (string)$value) . "\r\n";
                    }
                }
                return $head . ($this->has('connection') ? '' : "Connection: keep-alive\r\n");
            }

            private function has(string $name): bool
            {
                return isset(\array_change_key_case($this->headers)[$name]);
            }

            /** The head of an answer with a file, else all of it; a stream of events follows its head. */
            public function __toString()
            {
                if ($this->file !== null) {
                    $type = self::TYPES[\strtolower(\pathinfo($this->file['file'], \PATHINFO_EXTENSION))] ?? 'application/octet-stream';
                    $name = \preg_replace('/["\\\\\x00-\x1f\x7f]/', '', \basename($this->file['file']));
                    return $this->head() . ($this->has('content-type') ? '' : "Content-Type: $type\r\n")
                        . ($this->has('content-type') || $this->has('content-disposition') || $type !== 'application/octet-stream' ? '' : "Content-Disposition: attachment; filename=\"$name\"\r\n")
                        . ($this->has('last-modified') ? '' : 'Last-Modified: ' . \gmdate('D, d M Y H:i:s', (int)\filemtime($this->file['file'])) . " GMT\r\n") . "\r\n";
                }
                $head = $this->head() . ($this->has('content-type') ? '' : "Content-Type: text/html;charset=utf-8\r\n");
                if (($this->headers['Content-Type'] ?? '') === 'text/event-stream') {
                    return "$head\r\n";
                }
                if ($this->has('transfer-encoding')) {
                    return "$head\r\n" . ($this->body === '' ? '' : \dechex(\strlen($this->body)) . "\r\n$this->body\r\n");
                }
                return $head . ($this->has('content-length') ? '' : 'Content-Length: ' . \strlen($this->body) . "\r\n") . "\r\n$this->body";
            }
        }
    }

    if (!\Pushd\Names::theirs('Workerman\Protocols\Http\Chunk')) {
        class Chunk
        {
            private $data;

            public function __construct($data)
            {
                $this->data = (string)$data;
            }

            public function __toString()
            {
                return \dechex(\strlen($this->data)) . "\r\n$this->data\r\n";
            }
        }
    }

    if (!\Pushd\Names::theirs('Workerman\Protocols\Http\ServerSentEvents')) {
        class ServerSentEvents
        {
            private $fields;

            public function __construct(array $fields)
            {
                $this->fields = $fields;
            }

            public function __toString()
            {
                $text = '';
                foreach (['' => ': ', 'event' => 'event: ', 'id' => 'id: ', 'retry' => 'retry: ', 'data' => 'data: '] as $name => $line) {
                    if (isset($this->fields[$name])) {
                        $text .= $line . \str_replace("\n", "\n$line", (string)$this->fields[$name]) . "\n";
                    }
                }
                return "$text\n";
            }
        }
    }
}
