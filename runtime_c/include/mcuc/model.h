/* What generated code says about a model, for firmware that handles several. */
#ifndef MCUC_MODEL_H
#define MCUC_MODEL_H

#include <stdint.h>

#define MCUC_MAX_RANK 6

typedef enum { MCUC_INT8, MCUC_UINT8, MCUC_FLOAT32 } mcuc_type;

/* One input or output: real = scale * (q - zero_point). */
typedef struct {
    const char *name;             /* in the ONNX model */
    const char *layout;           /* "NHWC", "NCHW" or "" */
    mcuc_type type;               /* of a number */
    int32_t size;                 /* bytes */
    int32_t rank;                 /* entries of shape in use */
    int32_t shape[MCUC_MAX_RANK]; /* in the model's own layout, batch 1 */
    float scale;
    int32_t zero_point;
} mcuc_tensor_info;

typedef struct {
    const char *name;
    int32_t arena_size; /* bytes */
    int32_t steps;
    int32_t input_count;
    int32_t output_count;
    const mcuc_tensor_info *inputs;
    const mcuc_tensor_info *outputs;
} mcuc_model_info;

/* Told as a step of a model begins (done 0) and ends (done 1); see <name>_set_profiler. A step that
 * runs row by row does so many times in a run. */
typedef void (*mcuc_profiler)(void *user, int32_t step, int32_t done);

#endif
