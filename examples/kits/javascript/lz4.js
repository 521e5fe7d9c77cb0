// kafkajs reads gzip and nothing else by itself; orderflow writes lz4 unless it is told otherwise.
import kafkajs from 'kafkajs'
import {compressFrame, decompressFrame} from 'lz4-napi'

kafkajs.CompressionCodecs[kafkajs.CompressionTypes.LZ4] = () => ({
  compress: encoder => compressFrame(encoder.buffer),
  decompress: buffer => decompressFrame(buffer),
})
