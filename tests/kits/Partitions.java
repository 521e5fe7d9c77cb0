import java.util.Base64;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Sends a record with each of KEYS (base64, with spaces between) by the default partitioner, and prints its partition: BOOTSTRAP TOPIC. */
public class Partitions {
  public static void main(String[] args) throws Exception {
    try (var producer = new KafkaProducer<>(Map.<String, Object>of("bootstrap.servers", args[0]), new ByteArraySerializer(), new ByteArraySerializer())) {
      for (String key : System.getenv("KEYS").split(" ")) {
        System.out.println(producer.send(new ProducerRecord<>(args[1], Base64.getDecoder().decode(key), new byte[0])).get().partition());
      }
    }
  }
}
