-- The 0.975 quantile of Student's t: printed values up to 10 degrees of freedom, then the expansion of Fisher and
-- Cornish about the normal quantile 1.959964 (Abramowitz and Stegun 26.7.5), whose error is below 2e-4 there.
create view student_t as
select
    num_samples::bigint as num_samples,
    case
        when num_samples <= 11
        then
            [12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157, 2.228139][
                num_samples - 1
            ]
        else
            1.959964
            + 2.3722712 / (num_samples - 1)
            + 2.8224986 / ((num_samples - 1) * (num_samples - 1))
            + 2.5558498 / ((num_samples - 1) * (num_samples - 1) * (num_samples - 1))
    end as quantile
from (select unnest(range(2, 20001)) as num_samples);

comment on view student_t is
    'What the 95 % interval of a mean takes: mean plus and minus quantile times the standard deviation over the root of the number. Grain: number of samples, 2 to 20 000.';
comment on column student_t.num_samples is 'Independent samples that the mean is of: raters, or repetitions of a training.';
comment on column student_t.quantile is 'The 0.975 quantile of Student''s t with one degree of freedom fewer.';
