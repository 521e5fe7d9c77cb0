import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Builds the table of latest orders, and prints it when nothing has come for three seconds: BOOTSTRAP PREFIX. */
public class Consumer {
  static final ObjectMapper JSON = new ObjectMapper();
  // What the table keeps: not payment_session and next_action, which are the shopper's secrets.
  static final List<String> KEPT = List.of("sequence", "payment", "amounts", "attention", "digital_river", "lines", "shipments", "refunds", "returns", "documents");

  public static void main(String[] args) throws Exception {
    ObjectNode table = JSON.createObjectNode();
    try (var reader = new KafkaConsumer<>(Map.<String, Object>of("bootstrap.servers", args[0], "group.id", args[1] + "kit-java",
        "isolation.level", "read_committed", "auto.offset.reset", "earliest"), new StringDeserializer(), new StringDeserializer())) {
      reader.subscribe(List.of(args[1] + "order-state-changes"));
      ConsumerRecords<String, String> found = reader.poll(Duration.ofSeconds(30)); // the group needs a moment to begin
      while (!found.isEmpty()) {
        for (var record : found) {
          var event = JSON.readTree(record.value());
          if (!event.get("type").asText().equals("order.state_changed")) continue;
          var change = event.get("data");
          ObjectNode row = table.withObjectProperty(change.get("order_id").asText());
          for (String list : List.of("lines", "shipments", "refunds", "returns", "documents")) row.withArrayProperty(list);
          if (change.get("sequence").asInt() <= row.path("sequence").asInt(0)) continue; // it was delivered again
          for (String name : KEPT) if (change.has(name)) row.set(name, change.get(name));
          row.set("state", change.get("to"));
          for (var refund : row.get("refunds")) ((ObjectNode) refund).remove(List.of("token", "token_expires"));
        }
        found = reader.poll(Duration.ofSeconds(3));
      }
    }
    System.out.println(table);
  }
}
