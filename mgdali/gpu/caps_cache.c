/* Answers repeated queries for the limits of NVDEC from memory; caps_cache.py says why.

   The library is linked to the driver's libnvcuvid.so.1, so dlsym() finds all other functions there. Its own name
   (DT_SONAME) is libnvcuvid.so: a later dlopen("libnvcuvid.so") in the same process returns this library. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

/* CUVIDDECODECAPS of cuviddec.h has 88 bytes. It begins with the question: codec, chroma format, bit depth. */
enum { CAPS_BYTES = 88, QUESTION_BYTES = 12, MOST_ENTRIES = 256, SUCCESS = 0, UNKNOWN_ERROR = 999 };

typedef struct {
  int device;
  unsigned char caps[CAPS_BYTES];
} Entry;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Entry entries[MOST_ENTRIES];
static int num_entries;
static long num_asked, num_remembered;

static void *find(const char *library, const char *function) {
  void *handle = dlopen(library, RTLD_NOW | RTLD_NOLOAD);
  return handle ? dlsym(handle, function) : NULL;
}

static int current_device(int *device) {
  int (*get)(int *) = (int (*)(int *))find("libcuda.so.1", "cuCtxGetDevice");
  return get ? get(device) : UNKNOWN_ERROR;
}

static int ask(void *caps) {
  int (*get)(void *) = (int (*)(void *))find("libnvcuvid.so.1", "cuvidGetDecoderCaps");
  num_asked++;
  return get ? get(caps) : UNKNOWN_ERROR;
}

static int ask_once(int device, void *caps) {
  for (int i = 0; i < num_entries; i++) {
    if (entries[i].device == device && !memcmp(entries[i].caps, caps, QUESTION_BYTES)) {
      memcpy(caps, entries[i].caps, CAPS_BYTES);
      num_remembered++;
      return SUCCESS;
    }
  }
  int status = ask(caps);
  if (status == SUCCESS && num_entries < MOST_ENTRIES) {
    entries[num_entries].device = device;
    memcpy(entries[num_entries++].caps, caps, CAPS_BYTES);
  }
  return status;
}

int cuvidGetDecoderCaps(void *caps) {
  int device;
  /* The driver answers one query at a time, so waiting for the lock loses nothing. */
  pthread_mutex_lock(&lock);
  int status = current_device(&device) == SUCCESS ? ask_once(device, caps) : ask(caps);
  pthread_mutex_unlock(&lock);
  return status;
}

/* The numbers of queries that the driver answered, and that were answered from memory. */
void mgdali_caps_counts(long *asked, long *remembered) {
  pthread_mutex_lock(&lock);
  *asked = num_asked;
  *remembered = num_remembered;
  pthread_mutex_unlock(&lock);
}
