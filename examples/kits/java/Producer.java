import com.fasterxml.jackson.databind.ObjectMapper;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Sends the events of one order, and waits for the refusal of one that breaks the contract: BOOTSTRAP PREFIX REFUSALS ORDER_ID. */
public class Producer {
  static final ObjectMapper JSON = new ObjectMapper();
  static final Object TO = Map.of("name", "Mia Lund", "line1", "12 Harbor Street", "city", "Minneapolis", "state", "MN",
      "postal_code", "55401", "country", "US");
  static final Object CART = Map.ofEntries(Map.entry("currency", "USD"), Map.entry("locale", "en_US"), Map.entry("email", "mia@example.com"),
      Map.entry("customer", Map.of("kind", "guest")), Map.entry("bill_to", TO), Map.entry("ship_to", TO),
      Map.entry("ship_from", Map.of("country", "US", "postal_code", "78701")),
      Map.entry("shipping", Map.of("amount", "4.95", "description", "parcel", "service_level", "SG")), // money: text with the currency's digits
      Map.entry("items", List.of(Map.of("line", "1", "sku_id", "mug-blue", "quantity", 2, "price", "9.50"))));

  public static void main(String[] args) throws Exception {
    String prefix = args[1], order = args[3];
    // The default partitioner is murmur2 of the key; the default is also acks=all and idempotence.
    try (var producer = new KafkaProducer<>(Map.<String, Object>of("bootstrap.servers", args[0]), new StringSerializer(), new StringSerializer());
        var reader = new KafkaConsumer<>(Map.<String, Object>of("bootstrap.servers", args[0], "group.id", prefix + "kit-refusals-" + order,
            "isolation.level", "read_committed", "auto.offset.reset", "earliest"), new StringDeserializer(), new StringDeserializer())) {
      Object[][] events = {
          {"checkout-events", "checkout.requested", CART, "cart"},
          {"checkout-events", "checkout.source_provided", Map.of("source_id", "sim-card-" + order), "source"},
          {"order-events", "order.placed", Map.of("terms_accepted", false), "refused"}, // the shopper must accept them
          {"order-events", "order.placed", Map.of("terms_accepted", true), "placed"},
          {"fulfillment-events", "fulfillment.shipped", Map.of("shipment_id", "P-" + order, "items", List.of(Map.of("line", "1", "quantity", 2))), "parcel"}};
      for (Object[] event : events) {
        String value = JSON.writeValueAsString(Map.of("specversion", "1.0", "id", order + "-" + event[3], "source", "/kit/java",
            "type", event[1], "subject", order, "data", event[2]));
        producer.send(new ProducerRecord<>(prefix + event[0], order, value)).get();
      }
      reader.subscribe(List.of(prefix + args[2]));
      while (true) {
        for (var record : reader.poll(Duration.ofSeconds(1))) {
          var event = JSON.readTree(record.value());
          if (event.at("/type").asText().equals("order.event_refused") && event.at("/data/cause/id").asText().equals(order + "-refused")) {
            System.out.println(event.get("data"));
            return;
          }
        }
      }
    }
  }
}
