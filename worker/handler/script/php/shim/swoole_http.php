<?php
namespace Swoole\Http {

    #[\AllowDynamicProperties]
    class Request
    {
        public $fd = 0, $header = [], $server = [], $get, $post, $cookie, $files, $tmpfiles;
        private $raw = '';

        public static function of(int $fd, string $remote, string $raw, string $local = ''): self
        {
            $r = new self();
            $r->fd = $fd;
            $r->raw = $raw;
            $ours = \Pushd\PsrRequest::ours((string)\strstr("$raw\r\n\r\n", "\r\n\r\n", true));
            foreach ($ours->getHeaders() as $name => $values) {
                $r->header[$name] = \implode(', ', $values);
            }
            $uri = $ours->getUri();
            [$ip, $port] = \Pushd\SwooleProgram::split($remote);
            [$here, $at] = \Pushd\SwooleProgram::split($local);
            $r->server = ['request_method' => $ours->getMethod(), 'request_uri' => $uri->getPath(), 'path_info' => \urldecode($uri->getPath()), 'request_time' => \time(),
                'request_time_float' => \microtime(true), 'master_time' => \time(), 'server_port' => $at, 'server_addr' => $here,
                'remote_addr' => $ip, 'remote_port' => $port, 'server_protocol' => 'HTTP/1.1'];
            if ($uri->getQuery() !== '') {
                $r->server['query_string'] = $uri->getQuery();
                \parse_str($uri->getQuery(), $r->get);
            }
            if (\Pushd\SwooleProgram::setting('http_parse_cookie', true)) {
                $r->takeCookies();
            }
            if (\in_array($r->getMethod(), ['POST', 'PUT', 'DELETE', 'PATCH'], true)) {
                $r->takeForm();
            }
            return $r;
        }

        /** They are not among the headers then. */
        private function takeCookies(): void
        {
            foreach (\explode(';', $this->header['cookie'] ?? '') as $pair) {
                if ($at = \strpos($pair, '=')) {
                    $this->cookie[\trim(\substr($pair, 0, $at))] = \urldecode(\trim(\substr($pair, $at + 1)));
                }
            }
            unset($this->header['cookie']);
        }

        /** http_parse_post is of forms without files, and http_parse_files of how those are named. */
        private function takeForm(): void
        {
            $type = $this->header['content-type'] ?? '';
            if (\stripos($type, 'application/x-www-form-urlencoded') === 0) {
                if (\Pushd\SwooleProgram::setting('http_parse_post', true) && $this->rawContent() !== '') {
                    \parse_str($this->rawContent(), $this->post);
                }
            } elseif (\stripos($type, 'multipart/form-data') === 0) {
                require_once __DIR__ . '/uploads.php';
                [$this->post, $this->files, $paths] = \Pushd\Uploads::parse($type, $this->rawContent(), (string)\Pushd\SwooleProgram::setting('upload_tmp_dir', ''), (bool)\Pushd\SwooleProgram::setting('http_parse_files', false));
                $this->tmpfiles = $paths ?: null;
            }
        }

        public function __destruct()
        {
            if ($this->tmpfiles) {
                \Pushd\Uploads::drop($this->tmpfiles);
            }
        }

        public function rawContent()
        {
            return (string)\substr((string)\strstr($this->raw, "\r\n\r\n"), 4);
        }

        public function getContent()
        {
            return $this->rawContent();
        }

        public function getData()
        {
            return $this->raw;
        }

        public function getMethod()
        {
            return $this->server['request_method'];
        }
    }

    class Response
    {
        public $fd = 0;
        protected $status = 0;
        private $lines = []; // name in lower case => lines
        private $reason = '', $begun = false, $ended = false, $detached = false;
        private $turn = 0; // which of the requests of this process it answers

        public static function of(int $fd): self
        {
            $r = new self();
            $r->fd = $fd;
            $r->turn = \Pushd\SwooleProgram::$requests[$fd][0] ?? 0;
            return $r;
        }

        /** The answer to a request whose own Response was detached. */
        public static function create($server, $fd = -1)
        {
            return self::of((int)($fd === -1 ? $server : $fd));
        }

        public function detach()
        {
            $this->detached = true;
            return true;
        }

        /** Nobody will end it any more: as Swoole does, that is a mistake of the program. */
        public function __destruct()
        {
            if (!$this->detached && !\Pushd\Link::$stopped) {
                $this->pushdFail($this->status ?: 500);
            }
        }

        /** @internal Ends it where the program has not. */
        public function pushdFail(int $status): void
        {
            if ($this->isWritable()) {
                $this->status = $status;
                $this->end();
            }
        }

        public function status($http_code, $reason = '')
        {
            $this->status = (int)$http_code;
            $this->reason = \str_replace(["\r", "\n"], '', (string)$reason);
            return true;
        }

        public function header($key, $value, $format = true)
        {
            $lower = \strtolower($key);
            unset($this->lines[$lower]);
            foreach ($value === null ? [] : (array)$value as $one) {
                $this->add($lower, $key, (string)$one);
            }
            return true;
        }

        private function add(string $key, string $name, string $value): void
        {
            $this->lines[$key][] = "$name: " . \str_replace(["\r", "\n"], '', $value) . "\r\n";
        }

        protected function lines(): string
        {
            return $this->lines ? \implode('', \array_merge(...\array_values($this->lines))) : '';
        }

        public function setStatusCode($code, $reason = '')
        {
            return $this->status($code, $reason);
        }

        public function setHeader($name, $value, $format = true)
        {
            return $this->header($name, $value, $format);
        }

        public function cookie($name, $value = '', $expires = 0, $path = '/', $domain = '', $secure = false, $httponly = false, $samesite = '', $priority = '')
        {
            return $this->rawcookie($name, \rawurlencode($value), $expires, $path, $domain, $secure, $httponly, $samesite, $priority);
        }

        public function setCookie($name, $value = '', ...$more)
        {
            return $this->cookie($name, $value, ...$more);
        }

        public function rawcookie($name, $value = '', $expires = 0, $path = '/', $domain = '', $secure = false, $httponly = false, $samesite = '', $priority = '')
        {
            $this->add('set-cookie', 'Set-Cookie', "$name=$value" . ($expires ? '; Expires=' . \gmdate('D, d M Y H:i:s', $expires) . ' GMT' : '')
                . "; Path=$path" . ($domain === '' ? '' : "; Domain=$domain") . ($secure ? '; Secure' : '') . ($httponly ? '; HttpOnly' : '')
                . ($samesite === '' ? '' : "; SameSite=$samesite") . ($priority === '' ? '' : "; Priority=$priority"));
            return true;
        }

        public function redirect($location, $http_code = 302)
        {
            $this->status($http_code);
            $this->header('Location', $location);
            return $this->end();
        }

        public function sendfile($filename, $offset = 0, $length = 0)
        {
            if (!\is_file($filename)) {
                $this->status(404);
                return $this->end('Not Found');
            }
            if (!isset($this->lines['content-type'])) {
                $this->header('Content-Type', \Pushd\MimeTypes::of($filename));
            }
            return $this->end((string)\file_get_contents($filename, false, null, $offset, $length ?: null));
        }

        private function head(): string
        {
            if ($this->begun) {
                return '';
            }
            $this->begun = true;
            $status = $this->status ?: 200;
            $type = isset($this->lines['content-type']) ? '' : "Content-Type: text/html\r\n";
            $reason = $this->reason !== '' ? $this->reason : \Pushd\SwooleProgram::REASONS[$status] ?? 'Status';
            return "HTTP/1.1 $status $reason\r\n$type{$this->lines()}\r\n";
        }

        public function write($content)
        {
            if (!$this->isWritable()) {
                return false;
            }
            \Pushd\Link::frame(\Pushd\Link::RESPOND, $this->fd, $this->head() . $content, \Pushd\Link::MORE);
            return true;
        }

        public function end($content = '')
        {
            if (!$this->isWritable()) {
                return false;
            }
            $this->ended = true;
            unset(\Pushd\SwooleProgram::$requests[$this->fd]);
            $pieces = \str_split($this->head() . $content, \Pushd\Link::$most) ?: [''];
            $last = \array_pop($pieces);
            foreach ($pieces as $piece) {
                \Pushd\Link::frame(\Pushd\Link::RESPOND, $this->fd, $piece, \Pushd\Link::MORE);
            }
            \Pushd\Link::frame(\Pushd\Link::RESPOND, $this->fd, $last);
            return true;
        }

        /** Whether it has not been ended, and its client is there. */
        public function isWritable()
        {
            return !$this->ended && (\Pushd\SwooleProgram::$requests[$this->fd][0] ?? 0) === $this->turn;
        }
    }
}

namespace Pushd {

    /** SwooleAnswer is what on("handshake") makes of its response: 101 lets a client in. */
    final class SwooleAnswer extends \Swoole\Http\Response
    {
        /** What a response to one who is not let in says. */
        public $body = '';

        private $ended = false;

        public function __construct(int $fd, int $status)
        {
            $this->fd = $fd;
            $this->status = $status;
        }

        public function __destruct()
        {
        }

        public function write($content)
        {
            $this->body .= $content;
            return !$this->ended;
        }

        public function end($content = '')
        {
            $first = !$this->ended && $this->write($content);
            $this->ended = true;
            return $first;
        }

        public function isWritable()
        {
            return !$this->ended;
        }

        public function accepts(): bool
        {
            return $this->status === 101;
        }

        /** Gives the answer to pushd: whether the client is in. The lines of every handshake are pushd's own. */
        public function give(string $head): bool
        {
            if (!$this->accepts()) {
                $text = $this->body === '' ? 'Forbidden' : $this->body;
                $status = $this->status < 400 ? 403 : $this->status;
                $lines = $this->lines();
                Link::frame(Link::ACCEPT, $this->fd, $lines === '' ? $text : "HTTP/1.1 $status\r\n$lines\r\n$text", $lines === '' ? 0 : Link::WHOLE, $status);
                return false;
            }
            $lines = \preg_grep('/^(?:Upgrade|Connection|Sec-WebSocket-(?!Protocol)[\w-]+|Content-Type|Server)[ \t]*:/i', \explode("\r\n", \rtrim($this->lines())), \PREG_GREP_INVERT);
            Link::frame(Link::ACCEPT, $this->fd, Head::lines(\array_values(\array_filter($lines)), $head), 0, 101);
            return true;
        }
    }
}
