<?php
namespace Swoole\Http {

    #[\AllowDynamicProperties]
    class Request
    {
        public $fd = 0, $header = [], $server = [], $get, $post, $cookie, $files, $tmpfiles;
        private $raw = '';

        public static function of(int $fd, string $remote, string $raw): self
        {
            $r = new self();
            $r->fd = $fd;
            $r->raw = $raw;
            $ours = \Pushd\PsrRequest::ours((string)\strstr("$raw\r\n\r\n", "\r\n\r\n", true));
            foreach ($ours->getHeaders() as $name => $values) {
                $r->header[$name] = \implode(', ', $values);
            }
            $uri = $ours->getUri();
            $end = (int)\strrpos($remote, ':');
            $r->server = ['request_method' => $ours->getMethod(), 'request_uri' => $uri->getPath(), 'path_info' => $uri->getPath(), 'request_time' => \time(),
                'remote_addr' => $end ? \substr($remote, 0, $end) : $remote, 'remote_port' => (int)\substr($remote, $end + 1), 'server_protocol' => 'HTTP/1.1'];
            if ($uri->getQuery() !== '') {
                $r->server['query_string'] = $uri->getQuery();
                \parse_str($uri->getQuery(), $r->get);
            }
            foreach (\explode(';', $r->header['cookie'] ?? '') as $pair) {
                if ($at = \strpos($pair, '=')) {
                    $r->cookie[\trim(\substr($pair, 0, $at))] = \urldecode(\trim(\substr($pair, $at + 1)));
                }
            }
            if (\stripos($r->header['content-type'] ?? '', 'application/x-www-form-urlencoded') === 0) {
                \parse_str($r->rawContent(), $r->post);
            }
            return $r;
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
        protected $status = 200, $lines = '';
        private $reason = '', $begun = false, $ended = false, $type = false;

        public static function of(int $fd): self
        {
            $r = new self();
            $r->fd = $fd;
            return $r;
        }

        public function status($code, $reason = '')
        {
            $this->status = (int)$code;
            $this->reason = \str_replace(["\r", "\n"], '', (string)$reason);
            return true;
        }

        public function header($name, $value, $format = true)
        {
            $this->type = $this->type || \strtolower($name) === 'content-type';
            $this->lines .= "$name: " . \str_replace(["\r", "\n"], '', (string)$value) . "\r\n";
            return true;
        }

        public function setStatusCode($code, $reason = '')
        {
            return $this->status($code, $reason);
        }

        public function setHeader($name, $value, $format = true)
        {
            return $this->header($name, $value, $format);
        }

        public function cookie($name, $value = '', $expires = 0, $path = '/', $domain = '', $secure = false, $httponly = false, $sameSite = '', $priority = '')
        {
            return $this->rawcookie($name, \rawurlencode($value), $expires, $path, $domain, $secure, $httponly, $sameSite, $priority);
        }

        public function setCookie($name, $value = '', ...$more)
        {
            return $this->cookie($name, $value, ...$more);
        }

        public function rawcookie($name, $value = '', $expires = 0, $path = '/', $domain = '', $secure = false, $httponly = false, $sameSite = '', $priority = '')
        {
            return $this->header('Set-Cookie', "$name=$value" . ($expires ? '; Expires=' . \gmdate('D, d M Y H:i:s', $expires) . ' GMT' : '')
                . "; Path=$path" . ($domain === '' ? '' : "; Domain=$domain") . ($secure ? '; Secure' : '') . ($httponly ? '; HttpOnly' : '')
                . ($sameSite === '' ? '' : "; SameSite=$sameSite") . ($priority === '' ? '' : "; Priority=$priority"));
        }

        public function redirect($url, $code = 302)
        {
            $this->status($code);
            $this->header('Location', $url);
            return $this->end();
        }

        public function sendfile($file, $offset = 0, $length = 0)
        {
            if (!\is_file($file)) {
                $this->status(404);
                return $this->end('Not Found');
            }
            return $this->end((string)\file_get_contents($file, false, null, $offset, $length ?: null));
        }

        private function head(): string
        {
            if ($this->begun) {
                return '';
            }
            $this->begun = true;
            $type = $this->type ? '' : "Content-Type: text/html\r\n";
            $reason = $this->reason !== '' ? $this->reason : \Pushd\SwooleProgram::REASONS[$this->status] ?? 'Status';
            return "HTTP/1.1 $this->status $reason\r\n$type$this->lines\r\n";
        }

        public function write($data)
        {
            if ($this->ended) {
                return false;
            }
            \Pushd\Link::frame(\Pushd\Link::RESPOND, $this->fd, $this->head() . $data, \Pushd\Link::MORE);
            return true;
        }

        public function end($data = '')
        {
            if ($this->ended) {
                return false;
            }
            $this->ended = true;
            $pieces = \str_split($this->head() . $data, \Pushd\Link::$most) ?: [''];
            $last = \array_pop($pieces);
            foreach ($pieces as $piece) {
                \Pushd\Link::frame(\Pushd\Link::RESPOND, $this->fd, $piece, \Pushd\Link::MORE);
            }
            \Pushd\Link::frame(\Pushd\Link::RESPOND, $this->fd, $last);
            return true;
        }

        public function isWritable()
        {
            return !$this->ended;
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

        public function write($data)
        {
            $this->body .= $data;
            return !$this->ended;
        }

        public function end($data = '')
        {
            $first = !$this->ended && $this->write($data);
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
                Link::frame(Link::ACCEPT, $this->fd, $this->body === '' ? 'Forbidden' : $this->body, 0, $this->status < 400 ? 403 : $this->status);
                return false;
            }
            $lines = \preg_grep('/^(?:Upgrade|Connection|Sec-WebSocket-(?!Protocol)[\w-]+|Content-Type|Server)[ \t]*:/i', \explode("\r\n", \rtrim($this->lines)), \PREG_GREP_INVERT);
            Link::frame(Link::ACCEPT, $this->fd, Head::lines(\array_values(\array_filter($lines)), $head), 0, 101);
            return true;
        }
    }
}
