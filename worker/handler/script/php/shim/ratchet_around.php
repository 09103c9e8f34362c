<?php
namespace Pushd {

    /** PsrRequest is as much of a PSR-7 request as components ask for, where there is no guzzlehttp/psr7. */
    final class PsrRequest
    {
        private $lines, $target, $method, $body;

        static function of(string $head, string $body = '')
        {
            if (\class_exists('GuzzleHttp\Psr7\Message')) {
                return \GuzzleHttp\Psr7\Message::parseRequest(\rtrim($head) . "\r\n\r\n$body");
            }
            if (\function_exists('GuzzleHttp\Psr7\parse_request')) {
                return \call_user_func('GuzzleHttp\Psr7\parse_request', \rtrim($head) . "\r\n\r\n$body");
            }
            if (!\interface_exists('Psr\Http\Message\RequestInterface') && !\class_exists('Psr\Http\Message\RequestInterface', false)) { // for onOpen(…, RequestInterface $request)
                \class_alias(self::class, 'Psr\Http\Message\RequestInterface');
            }
            return self::ours($head, $body);
        }

        static function ours(string $head, string $body = ''): self
        {
            $r = new self();
            $r->body = $body;
            $lines = \explode("\r\n", \rtrim($head));
            [$r->method, $r->target] = \explode(' ', (string)\array_shift($lines), 3) + ['GET', '/'];
            $r->lines = [];
            foreach ($lines as $line) {
                [$name, $value] = \explode(':', $line, 2) + [1 => ''];
                $r->lines[\strtolower(\trim($name))][] = \trim($value);
            }
            return $r;
        }

        public function getMethod()
        {
            return $this->method;
        }

        public function getRequestTarget()
        {
            return $this->target;
        }

        public function getHeaders()
        {
            return $this->lines;
        }

        public function hasHeader($name)
        {
            return isset($this->lines[\strtolower($name)]);
        }

        public function getHeader($name)
        {
            return $this->lines[\strtolower($name)] ?? [];
        }

        public function getHeaderLine($name)
        {
            return \implode(', ', $this->getHeader($name));
        }

        /** The bytes: what asks for a string has one. */
        public function getBody()
        {
            return $this->body;
        }

        public function getUri()
        {
            return new PsrUri($this->target, $this->getHeaderLine('Host'));
        }
    }

    final class PsrUri
    {
        private $target, $host;

        public function __construct(string $target, string $host)
        {
            $this->target = $target;
            $this->host = $host;
        }

        public function getPath()
        {
            return (string)\strstr($this->target . '?', '?', true);
        }

        public function getQuery()
        {
            return (string)\substr((string)\strstr($this->target, '?'), 1);
        }

        public function getHost()
        {
            return (string)\preg_replace('/:\d+$/', '', $this->host);
        }

        public function __toString()
        {
            return "http://$this->host$this->target";
        }
    }
}
