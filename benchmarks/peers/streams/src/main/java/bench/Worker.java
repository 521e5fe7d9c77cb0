package bench;

import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.ObjectWriter;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/** Order workload v1 on Kafka Streams, exactly once, orders as JSON bytes in memory: BOOTSTRAP PREFIX PARTITIONS STATE_DIR. */
public class Worker {
  static final Map<String, Map<String, String>> NEXT = Map.of(
      "new", Map.of("checkout.created", "created"),
      "created", Map.of("source.attached", "sourced"),
      "sourced", Map.of("order.submitted", "submitted"),
      "submitted", Map.of("payment.authorized", "authorized"),
      "authorized", Map.of("fulfilment.created", "fulfilling"),
      "fulfilling", Map.of("order.completed", "completed"));
  static final Map<String, String> COMMANDS = Map.of("order.submitted", "authorize_payment", "fulfilment.created", "ship_items");
  static final int HISTORY_MAX = 4;

  public record Item(String sku, String name, int quantity, long amount) {}

  public record Customer(String id, String email, String country) {}

  public record Cart(String checkout_id, Customer customer, String currency, long amount, long tax, long shipping, List<Item> items) {}

  public record Event(String id, String source, String type, String subject, String time, long producetime, Cart data, String specversion) {}

  public record Status(String status, long since, String event) {}

  public record Order(String order_id, String status, int version, String last_event_id, String checkout_id, Customer customer,
      String currency, long amount, long tax, long shipping, List<Item> items, long updated, List<Status> history) {}

  public record Cause(String id, String source, String type, String time, long producetime) {}

  public record Change(String from, String to, int version, Cause cause, String checkout_id, String customer, String country,
      String currency, long amount, long tax, long shipping, List<Item> items, List<Status> history) {}

  public record Command(String checkout_id, String customer, String country, String currency, long amount, String cause, int version) {}

  public record Out(String specversion, String id, String source, String type, String subject, long producetime, Object data) {}

  static final ObjectMapper JSON = new ObjectMapper().disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES);
  static final ObjectReader EVENT = JSON.readerFor(Event.class);
  static final ObjectReader ORDER = JSON.readerFor(Order.class);
  static final ObjectWriter WRITER = JSON.writer();

  static class Decide implements Processor<byte[], byte[], byte[], byte[]> {
    private ProcessorContext<byte[], byte[]> context;
    private KeyValueStore<org.apache.kafka.common.utils.Bytes, byte[]> orders;

    @Override
    public void init(ProcessorContext<byte[], byte[]> given) {
      context = given;
      orders = given.getStateStore("orders");
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
      try {
        step(record);
      } catch (java.io.IOException error) {
        throw new IllegalStateException(error);
      }
    }

    private void step(Record<byte[], byte[]> record) throws java.io.IOException {
      Event event = EVENT.readValue(record.value());
      var key = org.apache.kafka.common.utils.Bytes.wrap(record.key());
      byte[] snapshot = orders.get(key);
      Order order = snapshot == null ? null : ORDER.readValue(snapshot);
      if (order != null && order.last_event_id().equals(event.id())) {
        return;
      }
      String before = order == null ? "new" : order.status();
      String after = NEXT.getOrDefault(before, Map.of()).get(event.type());
      if (after == null) {
        throw new IllegalStateException(event.type() + " in state " + before + " of " + event.subject());
      }
      long now = System.currentTimeMillis() * 1000;
      List<Status> history = new ArrayList<>(HISTORY_MAX);
      if (order != null) {
        List<Status> old = order.history();
        history.addAll(old.subList(Math.max(0, old.size() - HISTORY_MAX + 1), old.size()));
      }
      history.add(new Status(after, now, event.id()));
      Cart cart = event.data();
      Order next = order == null
          ? new Order(event.subject(), after, 1, event.id(), cart.checkout_id(), cart.customer(), cart.currency(), cart.amount(),
              cart.tax(), cart.shipping(), cart.items(), now, history)
          : new Order(order.order_id(), after, order.version() + 1, event.id(), order.checkout_id(), order.customer(),
              order.currency(), order.amount(), order.tax(), order.shipping(), order.items(), now, history);
      orders.put(key, WRITER.writeValueAsBytes(next));
      var change = new Change(before, after, next.version(),
          new Cause(event.id(), event.source(), event.type(), event.time(), event.producetime()), next.checkout_id(),
          next.customer().id(), next.customer().country(), next.currency(), next.amount(), next.tax(), next.shipping(),
          next.items(), history.subList(Math.max(0, history.size() - 2), history.size()));
      String id = next.order_id() + "/" + next.version();
      var changed = new Out("1.0", id, "bench/orders", "order.changed", next.order_id(), now, change);
      context.forward(record.withValue(WRITER.writeValueAsBytes(changed)), "changes");
      String name = COMMANDS.get(event.type());
      if (name != null) {
        var command = new Command(next.checkout_id(), next.customer().id(), next.customer().country(), next.currency(),
            next.amount(), event.id(), next.version());
        var asked = new Out("1.0", id + "/" + name, "bench/orders", "command." + name, next.order_id(), now, command);
        context.forward(record.withValue(WRITER.writeValueAsBytes(asked)), "commands");
      }
    }
  }

  public static void main(String[] args) {
    String prefix = args[1];
    Properties given = new Properties();
    given.put(StreamsConfig.APPLICATION_ID_CONFIG, prefix + "streams");
    given.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
    given.put(StreamsConfig.STATE_DIR_CONFIG, args[3]);
    given.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
    given.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
    given.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
    given.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
    given.put(StreamsConfig.consumerPrefix(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG), 10_000);
    given.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "lz4");
    var bytes = Serdes.ByteArray();
    var store = Stores.keyValueStoreBuilder(Stores.inMemoryKeyValueStore("orders"), Serdes.Bytes(), bytes)
        .withCachingDisabled().withLoggingEnabled(Map.of());
    Topology topology = new Topology();
    topology.addSource("events", bytes.deserializer(), bytes.deserializer(), prefix + "orders.in");
    topology.addProcessor("decide", Decide::new, "events").addStateStore(store, "decide");
    topology.addSink("changes", prefix + "changes", bytes.serializer(), bytes.serializer(), "decide");
    topology.addSink("commands", prefix + "commands", bytes.serializer(), bytes.serializer(), "decide");
    KafkaStreams streams = new KafkaStreams(topology, given);
    Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
    streams.setUncaughtExceptionHandler(error -> {
      error.printStackTrace();
      return org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
    });
    streams.start();
  }
}
