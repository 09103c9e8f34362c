<?php
namespace Pushd;

/**
 * FileAnswer sends a file, or a part of it, as Workerman does: a long one is read while
 * its client takes it.
 */
final class FileAnswer
{
    const WHOLE = 2097152; // bytes of a file that is sent at once are fewer
    const PIECE = 1048576;

    /** What is to be sent now; "": it is on its way. */
    static function encode($response, $connection): string
    {
        ['file' => $file, 'offset' => $offset, 'length' => $length] = $response->file;
        \clearstatcache();
        $size = (int)\filesize($file);
        $n = $length > 0 ? $length : $size - $offset;
        $response->withHeaders(['Content-Length' => $n, 'Accept-Ranges' => 'bytes']);
        if ($offset || $length) {
            $response->header('Content-Range', "bytes $offset-" . ($offset + $n - 1) . "/$size");
            $response->withStatus(206);
        }
        if ($n < self::WHOLE) {
            return $response . \file_get_contents($file, false, null, $offset, \max(0, $n));
        }
        $stream = @\fopen($file, 'r');
        if (!$stream) {
            $connection->close(new \Workerman\Protocols\Http\Response(403, [], '403 Forbidden'));
            return '';
        }
        \fseek($stream, $offset);
        $connection->send((string)$response, true);
        self::pump($connection, $stream, $n);
        return '';
    }

    /** Sends what is left, and goes on when its client has taken what waits. */
    private static function pump($c, $stream, int $left): void
    {
        while ($left > 0 && $c->getStatus() === 2 && ($data = (string)\fread($stream, \min($left, self::PIECE))) !== '') {
            $left -= \strlen($data);
            if ($c->send($data, true) !== true) {
                $c->onBufferDrain = static function ($c) use ($stream, $left) {
                    $c->onBufferDrain = null;
                    self::pump($c, $stream, $left);
                };
                return;
            }
        }
        \fclose($stream);
    }
}
