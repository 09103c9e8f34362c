<?php
namespace Pushd;

/**
 * Handshake is that of TLS on a stream of PHP's own. It goes on with what has come,
 * so that nobody waits for one who says nothing.
 */
final class Handshake
{
    const CLIENT = \STREAM_CRYPTO_METHOD_TLS_CLIENT;
    const SERVER = \STREAM_CRYPTO_METHOD_TLSv1_2_SERVER | \STREAM_CRYPTO_METHOD_TLSv1_3_SERVER;

    /** How long one may take. */
    public static $seconds = 10.0;

    private $stream, $method, $done, $timer;

    /** $done is called once, with what is wrong; null: nothing. Until then the stream is the handshake's. */
    function __construct($stream, int $method, callable $done)
    {
        $this->stream = $stream;
        $this->method = $method;
        $this->done = $done;
        $this->timer = Timers::add(self::$seconds, [$this, 'end'], ['it took more than ' . self::$seconds . ' s'], false);
        Loop::onReadable($stream, [$this, 'go']);
    }

    public function go(): void
    {
        $wrong = 'the connection ended';
        \set_error_handler(static function ($level, $text) use (&$wrong) {
            $wrong = \preg_replace(['~^stream_socket_enable_crypto\(\): ~', '~\s+~'], ['', ' '], $text);
            return true;
        });
        $done = \stream_socket_enable_crypto($this->stream, true, $this->method);
        \restore_error_handler();
        if ($done !== 0) {
            $this->end($done ? null : $wrong);
        }
    }

    public function end(?string $wrong): void
    {
        $done = $this->done;
        $this->cancel();
        if ($done) {
            $done($wrong);
        }
    }

    /** The stream is somebody else's again. */
    function cancel(): void
    {
        $this->done = null;
        Timers::del($this->timer);
        Loop::onReadable($this->stream, null);
    }
}
